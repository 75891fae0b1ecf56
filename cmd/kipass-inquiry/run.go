package main

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/kipass/kipass/inquiry"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/token"
)

func (c *command) run(ctx context.Context, args []string) error {
	home := c.home()
	visits := c.String("visits", "", "`URL` of the visit server (required)")
	visitsCA := c.String("visits-ca", "", "`file` of the authority of the visit server's certificate, PEM (required)")
	trust := c.String("trust", "", "`file` of the signed trust list, which says where issuers answer (required)")
	root := c.String("root", "", "scheme operator's public root `key`, base64 (required)")
	asJSON := c.Bool("json", false, "print a summary as one line of JSON on standard output, in counts only")
	roots := map[string]*x509.CertPool{}
	c.Func("issuer-ca", "`[NAME=]FILE` of the authority of an issuer's certificate, PEM; without a name for every issuer that has none of its own; may be repeated", func(s string) error {
		name, path, named := strings.Cut(s, "=")
		if !named {
			name, path = "", s
		}
		return addRoots(roots, name, path)
	})
	if err := c.read(args, 1, "home", "visits", "visits-ca", "trust", "root"); err != nil {
		return err
	}
	if err := addRoots(roots, "visit server", *visitsCA); err != nil {
		return err
	}
	list, err := readTrust(*trust, *root)
	if err != nil {
		return err
	}
	if time.Now().After(list.Expires) {
		fmt.Fprintf(c.stderr, "warning: the trust list expired at %s; addresses of issuers may be out of date\n", list.Expires.Format(time.RFC3339))
	}
	approved, err := os.ReadFile(c.Arg(0))
	if err != nil {
		return fmt.Errorf("reading the approved order: %w", err)
	}
	config := inquiry.Config{
		Visits: inquiry.Endpoint{URL: *visits, Roots: roots["visit server"]},
		Issuers: inquiry.IssuersOf(list, func(name string) *x509.CertPool {
			if roots[name] == nil {
				name = ""
			}
			return roots[name]
		}),
		Progress: func(line string) { fmt.Fprintln(c.stderr, line) },
	}
	return withAuthority(*home, func(a *inquiry.Authority) error {
		s, err := a.Run(ctx, approved, config)
		if err != nil && !errors.Is(err, inquiry.ErrPartial) {
			return err
		}
		fmt.Fprintf(c.stderr, "%d contacts from %d scans; %d codes not opened; contact list in %s\n", s.Contacts, s.Scans, s.Unopened, s.List)
		if *asJSON {
			if err := json.NewEncoder(c.stdout).Encode(s); err != nil {
				return fmt.Errorf("writing the summary: %w", err)
			}
		}
		return err
	})
}

func addRoots(roots map[string]*x509.CertPool, name, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading a certificate authority: %w", err)
	}
	if roots[name] == nil {
		roots[name] = x509.NewCertPool()
	}
	if !roots[name].AppendCertsFromPEM(text) {
		return fmt.Errorf("reading %s: no certificate in PEM", path)
	}
	return nil
}

func readTrust(path, root string) (token.TrustList, error) {
	pub, err := base64.StdEncoding.DecodeString(root)
	if err != nil || len(pub) != ed25519.PublicKeySize {
		return token.TrustList{}, errors.New("-root must be 44 characters of base64")
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return token.TrustList{}, fmt.Errorf("reading the trust list: %w", err)
	}
	return token.OpenTrustList(pub, raw)
}

func (c *command) open(args []string) error {
	home := c.home()
	format := c.String("format", "csv", "`form` of the list: csv or json")
	if err := c.read(args, 1, "home"); err != nil {
		return err
	}
	if *format != "csv" && *format != "json" {
		return errors.New("-format must be csv or json")
	}
	id, err := order.ParseID(c.Arg(0))
	if err != nil {
		return err
	}
	return withAuthority(*home, func(a *inquiry.Authority) error {
		list, err := a.Contacts(id)
		if err != nil {
			return err
		}
		for name, n := range list.Missing {
			fmt.Fprintf(c.stderr, "INCOMPLETE: %d codes of issuer %s were not asked for; run the order again\n", n, name)
		}
		if *format == "json" {
			return list.WriteJSON(c.stdout)
		}
		return list.WriteCSV(c.stdout)
	})
}

func (c *command) destroy(args []string) error {
	home := c.home()
	if err := c.read(args, 1, "home"); err != nil {
		return err
	}
	id, err := order.ParseID(c.Arg(0))
	if err != nil {
		return err
	}
	return withAuthority(*home, func(a *inquiry.Authority) error { return a.Destroy(id) })
}
