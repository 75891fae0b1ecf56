package main

import (
	"bufio"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/kipass/kipass/inquiry"
	"github.com/kipass/kipass/internal/keyfile"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/visit"
)

func (c *command) keygenAuthority(args []string) error {
	home := c.home()
	if err := c.read(args, 0, "home"); err != nil {
		return err
	}
	return inquiry.Init(*home)
}

func (c *command) keygenOfficer(args []string) error {
	out := c.String("o", "", "private key's `file`, made new (required)")
	if err := c.read(args, 1, "o"); err != nil {
		return err
	}
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return fmt.Errorf("making the officer's key: %w", err)
	}
	if _, err := order.NewOfficers(order.Officer{Name: c.Arg(0), Public: pub}); err != nil {
		return err
	}
	if err := keyfile.Create(*out, key); err != nil {
		return err
	}
	fmt.Fprintln(c.stdout, c.Arg(0), order.FormatPublicKey(pub))
	return nil
}

func (c *command) officerAdd(args []string) error {
	home := c.home()
	if err := c.read(args, 2, "home"); err != nil {
		return err
	}
	pub, err := order.ParsePublicKey(c.Arg(1))
	if err != nil {
		return err
	}
	return withAuthority(*home, func(a *inquiry.Authority) error {
		return a.AddOfficer(order.Officer{Name: c.Arg(0), Public: pub})
	})
}

func (c *command) order(args []string) error {
	home := c.home()
	key := c.String("key", "", "officer's private key `file` (required)")
	officer := c.String("officer", "", "officer's `name` as in the registers (required)")
	number := c.String("case", "", "case `number` (required)")
	purpose := c.String("purpose", "", "`text` that says what for (required)")
	facility := c.String("facility", "", "`name` of the facility (required)")
	from := c.String("from", "", "begin of the window, inclusive: a `time` (required)")
	to := c.String("to", "", "end of the window, exclusive: a `time` (required)")
	valid := c.Duration("valid", 24*time.Hour, "`how long` the order is obeyed, at most 168h")
	out := c.String("o", "", "`file` for the signed order (required)")
	if err := c.read(args, 0, "home", "key", "officer", "case", "purpose", "facility", "from", "to", "o"); err != nil {
		return err
	}
	r := inquiry.Request{Case: *number, Officer: *officer, Purpose: *purpose, Valid: *valid}
	var err error
	if r.Facility, err = visit.ParseFacility(*facility); err != nil {
		return err
	}
	if r.From, err = parseTime(*from); err != nil {
		return fmt.Errorf("-from: %w", err)
	}
	if r.To, err = parseTime(*to); err != nil {
		return fmt.Errorf("-to: %w", err)
	}
	signing, err := keyfile.ReadEd25519(*key)
	if err != nil {
		return err
	}
	return withAuthority(*home, func(a *inquiry.Authority) error {
		id, signed, err := a.Order(signing, r)
		if err != nil {
			return err
		}
		if err := os.WriteFile(*out, signed, 0o600); err != nil {
			return fmt.Errorf("writing the signed order: %w", err)
		}
		fmt.Fprintln(c.stdout, id)
		return nil
	})
}

// parseTime reads RFC 3339, or a minute in Korean time.
func parseTime(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	t, err := time.ParseInLocation("2006-01-02 15:04", s, day.Seoul())
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither 2006-01-02T15:04:05+09:00 nor \"2006-01-02 15:04\"", s)
	}
	return t, nil
}

func (c *command) approve(args []string) error {
	home := c.home()
	key := c.String("key", "", "approving officer's private key `file` (required)")
	yes := c.Bool("yes", false, "approve without asking")
	out := c.String("o", "", "`file` for the approved order (required)")
	if err := c.read(args, 1, "home", "key", "o"); err != nil {
		return err
	}
	signing, err := keyfile.ReadEd25519(*key)
	if err != nil {
		return err
	}
	signed, err := os.ReadFile(c.Arg(0))
	if err != nil {
		return fmt.Errorf("reading the signed order: %w", err)
	}
	return withAuthority(*home, func(a *inquiry.Authority) error {
		o, err := a.Read(signed)
		if err != nil {
			return err
		}
		c.show(o)
		if !*yes {
			if err := c.confirm(); err != nil {
				return err
			}
		}
		approved, err := a.Approve(signing, signed)
		if err != nil {
			return err
		}
		if err := os.WriteFile(*out, approved, 0o600); err != nil {
			return fmt.Errorf("writing the approved order: %w", err)
		}
		return nil
	})
}

func (c *command) show(o order.Order) {
	at := func(t time.Time) string { return t.In(day.Seoul()).Format("2006-01-02 15:04:05 MST") }
	fmt.Fprintf(c.stderr, "order     %v\ncase      %s\nofficer   %s\npurpose   %s\nfacility  %s\nwindow    %s to %s\nissued    %s\nexpires   %s\n",
		o.ID, o.Case, o.Officer, o.Purpose, o.Facility, at(o.From), at(o.To), at(o.IssuedAt), at(o.Expires))
}

func (c *command) confirm() error {
	fmt.Fprint(c.stderr, "type yes to approve: ")
	line, err := bufio.NewReader(c.stdin).ReadString('\n')
	if err != nil && err != io.EOF {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if strings.TrimSpace(line) != "yes" {
		return errors.New("not approved")
	}
	return nil
}
