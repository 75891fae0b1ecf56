package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/issuer"
	"github.com/kipass/kipass/protocol/publickey"
	"github.com/kipass/kipass/protocol/token"
)

func publicKeyCommand() *cobra.Command {
	data, url := "", ""
	about := "신뢰 목록에 넣을 내용을 JSON으로 출력합니다 / print what the trust list says of this issuer, as JSON"
	cmd := cli.Command("public-key", about, func(cmd *cobra.Command, _ []string) error {
		if !strings.HasPrefix(url, "https://") {
			return cli.Wrong("--url은 https://로 시작해야 합니다", "--url must begin with https://")
		}
		told, err := issuer.Describe(data, url, time.Now())
		if err != nil {
			return err
		}
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetIndent("", "  ")
		return enc.Encode(token.MetadataOf(told))
	})
	cmd.Long = "운영자에게 줍니다 (kipass-scheme sign). 다음 키도 들어 있습니다 (keys rotate). / " +
		"It is for the scheme operator (kipass-scheme sign), and has the next key too (keys rotate)."
	dataFlag(cmd, &data)
	flags := cli.FlagsOf(cmd)
	flags.String(&url, "url", cli.URL, "보건 당국이 이 발급회사에 닿는 주소 / URL at which the health authority reaches this issuer")
	flags.Require("url")
	return cmd
}

func auditKeyCommand() *cobra.Command {
	data, secrets := "", ""
	about := "감사 기록을 확인하는 공개 키를 출력합니다 / print the public key with which the audit log is checked"
	cmd := cli.Command("audit-key", about, func(cmd *cobra.Command, _ []string) error {
		key, err := issuer.AuditKey(data, secrets)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), key)
		return err
	})
	cmd.Long = "확인은 kipass-inquiry audit으로 합니다. / kipass-inquiry audit checks the log with it."
	dataFlag(cmd, &data)
	secretsFlag(cmd, &secrets)
	return cmd
}

func keysCommand() *cobra.Command {
	return cli.Group("keys", "코드에 서명하는 키 / keys that sign codes", keysListCommand(), keysRotateCommand(), keysActivateCommand())
}

func keysListCommand() *cobra.Command {
	about := "서명 키와 그 기간을 출력합니다 / print the signing keys and how long they last"
	cmd := registerCommand("list", about, func(r issuer.Registers, cmd *cobra.Command, _ []string) error {
		keys, err := r.Keys()
		if err != nil {
			return err
		}
		for _, k := range keys {
			if err := printKey(cmd, k.State, k.SigningKey); err != nil {
				return err
			}
		}
		return nil
	})
	cmd.Long = "waits: 신뢰 목록을 기다림, comes: 곧 쓰임, signs: 쓰는 중, old: 이전 키, ended: 끝남 / " +
		"waits: for a trust list that has it, comes: is used from the time given on, signs: in use, old: used before, ended"
	return cmd
}

func printKey(cmd *cobra.Command, state string, k issuer.SigningKey) error {
	from := "-"
	if !k.From.IsZero() {
		from = k.From.Format(time.RFC3339)
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), k.ID(), state, "from", from, "to", k.NotAfter.Format(time.RFC3339))
	return err
}

func keysRotateCommand() *cobra.Command {
	about := "다음 서명 키를 만듭니다, 아직 쓰지 않습니다 / make the next signing key, which is not used yet"
	cmd := registerCommand("rotate", about, func(r issuer.Registers, cmd *cobra.Command, _ []string) error {
		k, err := r.RotateKey()
		if err != nil {
			return err
		}
		return printKey(cmd, "waits", k)
	})
	cmd.Long = "다음에 public-key의 출력을 운영자에게 주고, 새 신뢰 목록으로 keys activate를 실행하십시오. 끝난 키는 파기합니다. / " +
		"Then give what public-key prints to the scheme operator, and run keys activate with the new trust list. Keys that have ended are destroyed."
	return cmd
}

func keysActivateCommand() *cobra.Command {
	path, root, atOnce := "", "", false
	about := "신뢰 목록에 있는 다음 키를 일주일 뒤부터 씁니다 / use the next key, which the trust list has, in a week"
	cmd := registerCommand("activate", about, func(r issuer.Registers, cmd *cobra.Command, _ []string) error {
		pub, err := publickey.Parse(root)
		if err != nil {
			return cli.WrongKey("trust-root", err)
		}
		list, err := token.ReadTrustList(pub, path)
		if err != nil {
			return err
		}
		k, err := r.ActivateKey(list, atOnce)
		if err != nil {
			return err
		}
		return printKey(cmd, "comes", k)
	})
	cmd.Long = "그동안 게이트가 새 목록을 받습니다. 지금 키가 그 전에 끝나면 끝나기 하루 전부터 씁니다. 실행 중인 서버는 1분 안에 압니다. / " +
		"Meanwhile gates get the new list. If the present key ends before, it is used from a day before that on. A running server sees it within a minute."
	flags := cli.FlagsOf(cmd)
	flags.String(&path, "trust-list", cli.File, "다음 키가 있는 서명된 신뢰 목록 / signed trust list that has the next key")
	flags.String(&root, "trust-root", cli.Key,
		"운영자의 루트 공개 키, base64 44자 / the scheme operator's public root key, 44 characters of base64")
	flags.Bool(&atOnce, "now", "기다리지 않고 지금부터, 지금 키가 유출되었을 때 / at once, without waiting: the present key is known to others")
	flags.Require("trust-list", "trust-root")
	return cmd
}
