package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/kipass/kipass/issuer"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/token"
)

func officerAdd(args []string, stderr io.Writer) error {
	c := newCommand("officer add", stderr)
	if err := c.read(args, 2); err != nil {
		return err
	}
	pub, err := order.ParsePublicKey(c.Arg(1))
	if err != nil {
		return err
	}
	return issuer.AddOfficer(*c.data, order.Officer{Name: c.Arg(0), Public: pub})
}

func officerList(args []string, stdout, stderr io.Writer) error {
	c := newCommand("officer list", stderr)
	if err := c.read(args, 0); err != nil {
		return err
	}
	officers, err := issuer.ReadOfficers(*c.data)
	if err != nil {
		return err
	}
	for _, o := range officers.All() {
		fmt.Fprintln(stdout, o.Name, order.FormatPublicKey(o.Public))
	}
	return nil
}

func publicKey(args []string, stdout, stderr io.Writer) error {
	c := newCommand("public-key", stderr)
	url := c.String("url", "", "`URL` at which the health authority reaches this issuer (required)")
	if err := c.read(args, 0); err != nil {
		return err
	}
	if !strings.HasPrefix(*url, "https://") {
		return errors.New("-url is required and must begin with https://")
	}
	about, pub, err := issuer.Describe(*c.data, *c.secrets)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(token.CardOf(token.Issuer{Name: about.Name, Display: about.Display, URL: *url, Keys: []token.IssuerKey{{
		Issuer: about.Name, Public: pub, NotBefore: about.NotBefore, NotAfter: about.NotAfter,
	}}}))
}

func auditKey(args []string, stdout, stderr io.Writer) error {
	c := newCommand("audit-key", stderr)
	if err := c.read(args, 0); err != nil {
		return err
	}
	key, err := issuer.AuditKey(*c.data, *c.secrets)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, key)
	return nil
}
