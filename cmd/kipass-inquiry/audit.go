package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kipass/kipass/inquiry"
	"github.com/kipass/kipass/protocol/auditlog"
)

// maxLog is the longest published log in bytes that is fetched.
const maxLog = 1 << 30

func (c *command) audit(ctx context.Context, args []string) error {
	key := c.String("key", "", "verifier `key` of the log, \"origin+hash+key\" (required)")
	dir := c.String("dir", "", "`folder` of the log")
	url := c.String("url", "", "`URL` of a party that publishes its log")
	ca := c.String("ca", "", "`file` of the authority of that party's certificate, PEM")
	list := c.Bool("list", false, "print the entries, one JSON object a line")
	save := c.String("save", "", "`file` to keep the checkpoint in, for -since next time")
	var older [][]byte
	c.Func("since", "`file` of a checkpoint kept earlier: the log must only have grown since; may be repeated", func(path string) error {
		b, err := os.ReadFile(path)
		older = append(older, b)
		return err
	})
	if err := c.read(args, 0, "key"); err != nil {
		return err
	}
	entries, checkpoint, err := fetchLog(ctx, *dir, *url, *ca)
	if err != nil {
		return err
	}
	r, err := auditlog.Check(entries, checkpoint, *key, older...)
	if err != nil {
		return err
	}
	if *list {
		enc := json.NewEncoder(c.stdout)
		for _, e := range r.Entries {
			if err := enc.Encode(e); err != nil {
				return fmt.Errorf("writing the entries: %w", err)
			}
		}
	}
	fmt.Fprintf(c.stderr, "%d entries hold", r.Size)
	if len(older) > 0 {
		fmt.Fprintf(c.stderr, " and continue %d older checkpoints", len(older))
	}
	fmt.Fprintln(c.stderr)
	if r.Unsigned > 0 {
		fmt.Fprintf(c.stderr, "note: %d bytes after the last signed entry: an append under way or interrupted\n", r.Unsigned)
	}
	if *save != "" {
		if err := os.WriteFile(*save, checkpoint, 0o644); err != nil {
			return fmt.Errorf("keeping the checkpoint: %w", err)
		}
	}
	return nil
}

// fetchLog reads the checkpoint before the entries, which may grow meanwhile.
func fetchLog(ctx context.Context, dir, url, ca string) (entries, checkpoint []byte, err error) {
	read := func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(dir, name)) }
	switch {
	case (dir == "") == (url == ""):
		return nil, nil, errors.New("give either -dir or -url")
	case url != "":
		roots := map[string]*x509.CertPool{}
		if err := addRoots(roots, "", ca); err != nil {
			return nil, nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
		defer cancel()
		client := &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots[""]}, DisableKeepAlives: true,
		}}
		paths := map[string]string{auditlog.CheckpointFile: "/v1/log/checkpoint", auditlog.EntriesFile: "/v1/log/entries"}
		read = func(name string) ([]byte, error) {
			return get(ctx, client, strings.TrimSuffix(url, "/")+paths[name])
		}
	}
	if checkpoint, err = read(auditlog.CheckpointFile); err != nil {
		return nil, nil, fmt.Errorf("reading the checkpoint: %w", err)
	}
	if entries, err = read(auditlog.EntriesFile); err != nil {
		return nil, nil, fmt.Errorf("reading the entries: %w", err)
	}
	return entries, checkpoint, nil
}

func get(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxLog))
}

func (c *command) auditKey(args []string) error {
	home := c.home()
	if err := c.read(args, 0, "home"); err != nil {
		return err
	}
	key, err := inquiry.AuditKey(*home)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.stdout, key)
	return nil
}
