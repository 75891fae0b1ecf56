package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"

	"github.com/kipass/kipass/issuer"
)

func serve(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c := newCommand("serve", stderr)
	listen := c.String("listen", "127.0.0.1:8444", "`address` to listen on; port 0 takes a free one")
	registration := c.String("registration", issuer.RegisterByToken,
		"`how` holders are registered: token (whoever has the operator's token from the folder of secrets vouches for the phone) or open (unchecked, for trials)")
	confirm := c.Bool("confirm-clock", false,
		"the clock is right, now: destroy days that are held back since it was far ahead; for one start, not for good")
	rate := c.Int("rate", 20, "codes a minute for one holder; 0 sets no limit")
	if err := c.read(args, 0); err != nil {
		return err
	}
	if *rate < 0 {
		return errors.New("-rate must not be negative")
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", *listen, err)
	}
	return issuer.Run(ctx, issuer.Config{
		Dir: *c.data, SecretDir: *c.secrets, Listener: listener, Registration: *registration, CodesPerMinute: *rate,
		ConfirmClock: *confirm,
		Ready:        func(url string) { fmt.Fprintln(stdout, "ready", url) },
		Logger:       slog.New(slog.NewTextHandler(stderr, nil)),
	})
}
