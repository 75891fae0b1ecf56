package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kipass/kipass/protocol/token"
)

func readCard(path string) (token.Issuer, error) {
	f, err := os.Open(path)
	if err != nil {
		return token.Issuer{}, fmt.Errorf("reading an issuer: %w", err)
	}
	defer f.Close()
	i, err := token.ReadCard(f)
	if err != nil {
		return token.Issuer{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return i, nil
}

func sign(rootPath string, version uint64, valid time.Duration, out string, cards []string, stderr io.Writer) error {
	root, err := readRoot(rootPath)
	if err != nil {
		return err
	}
	if out == "" || len(cards) == 0 {
		return errors.New("sign needs -o and at least one issuer's file")
	}
	now := time.Now().Truncate(time.Second)
	list := token.TrustList{Version: version, IssuedAt: now, Expires: now.Add(valid)}
	for _, path := range cards {
		i, err := readCard(path)
		if err != nil {
			return err
		}
		list.Issuers = append(list.Issuers, i)
	}
	raw, err := token.SignTrustList(root, list)
	if err != nil {
		return err
	}
	if len(raw) > token.MaxTrustList {
		return fmt.Errorf("trust list of %d bytes, and gates read at most %d", len(raw), token.MaxTrustList)
	}
	if err := replace(out, raw); err != nil {
		return fmt.Errorf("writing the trust list: %w", err)
	}
	fmt.Fprintf(stderr, "signed trust list %d with %d issuers, valid until %s\n", version, len(list.Issuers), list.Expires.Format(time.RFC3339))
	return nil
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

func show(public, path string, stdout io.Writer) error {
	pub, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(public))
	if err != nil || len(pub) != ed25519.PublicKeySize {
		return errors.New("-public must be the root's public half, 44 characters of base64")
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the trust list: %w", err)
	}
	list, err := token.OpenTrustList(pub, raw)
	if err != nil {
		return err
	}
	shown := struct {
		Version  uint64       `json:"version"`
		IssuedAt time.Time    `json:"issued_at"`
		Expires  time.Time    `json:"expires"`
		Issuers  []token.Card `json:"issuers"`
	}{list.Version, list.IssuedAt, list.Expires, []token.Card{}}
	for _, i := range list.Issuers {
		shown.Issuers = append(shown.Issuers, token.CardOf(i))
	}
	enc := json.NewEncoder(stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(shown)
}
