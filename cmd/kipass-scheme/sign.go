package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/protocol/token"
)

// signOptions say which trust list is signed.
type signOptions struct {
	rootKey string
	version uint64
	valid   time.Duration
	output  string
	issuers []string // files of their metadata
}

func signCommand() *cobra.Command {
	opts := signOptions{valid: 30 * 24 * time.Hour}
	about := "발급회사의 신뢰 목록에 서명합니다 / sign a trust list of issuers"
	cmd := cli.Command("sign ISSUER-FILE...", about, func(cmd *cobra.Command, args []string) error {
		opts.issuers = args
		list, err := sign(opts)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.ErrOrStderr(), "signed trust list %d with %d issuers, valid until %s\n",
			list.Version, len(list.Issuers), list.Expires.Format(time.RFC3339))
		return err
	})
	cmd.Long = "ISSUER-FILE은 kipass-issuer public-key의 출력입니다. / An ISSUER-FILE is what kipass-issuer public-key prints."
	cmd.Example = "  kipass-scheme sign --root-key root.key --list-version 1 --output trust.list naver.json"
	rootKeyFlag(cmd, &opts.rootKey)
	flags := cli.FlagsOf(cmd)
	flags.Uint64(&opts.version, "list-version",
		"목록 번호, 이전의 모든 번호보다 커야 합니다 / number of the list, higher than of any before")
	flags.Require("list-version")
	flags.Duration(&opts.valid, "valid",
		"게이트가 목록을 오래된 것으로 보지 않는 기간 / how long gates take the list without calling it stale")
	flags.Output(&opts.output, "만들 목록 파일 / file of the list to write")
	return cmd
}

func sign(opts signOptions) (token.TrustList, error) {
	root, err := readRoot(opts.rootKey)
	if err != nil {
		return token.TrustList{}, err
	}
	now := time.Now().Truncate(time.Second)
	list := token.TrustList{Version: opts.version, IssuedAt: now, Expires: now.Add(opts.valid)}
	for _, path := range opts.issuers {
		i, err := readMetadata(path)
		if err != nil {
			return token.TrustList{}, err
		}
		list.Issuers = append(list.Issuers, i)
	}
	raw, err := token.SignTrustList(root, list)
	if err != nil {
		return token.TrustList{}, err
	}
	if len(raw) > token.MaxTrustList {
		return token.TrustList{}, fmt.Errorf("the trust list has %d bytes, gates read at most %d", len(raw), token.MaxTrustList)
	}
	if err := replace(opts.output, raw); err != nil {
		return token.TrustList{}, fmt.Errorf("writing the trust list: %w", err)
	}
	return list, nil
}

func readMetadata(path string) (token.Issuer, error) {
	f, err := os.Open(path)
	if err != nil {
		return token.Issuer{}, fmt.Errorf("reading an issuer: %w", err)
	}
	defer f.Close()
	i, err := token.ReadMetadata(f)
	if err != nil {
		return token.Issuer{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return i, nil
}

// replace writes a file whole: a server may be reading it.
func replace(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".trust-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
