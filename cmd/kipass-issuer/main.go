// Command kipass-issuer is a QR issuer: it registers holders, gives them one-time entry codes, and opens codes for an
// approved order of the health authority.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/kipass/kipass/issuer"
)

const usage = `kipass-issuer: QR issuer of the electronic entry register (전자출입명부 QR발급회사)

usage:
  kipass-issuer init -data DIR -name NAME [-display TEXT] [-host HOST]... [-secrets DIR]
      make the data folder: keys, TLS authority (DIR/ca.pem), registration token
  kipass-issuer serve -data DIR [-listen ADDR] [-registration token|open] [-rate N] [-confirm-clock] [-secrets DIR]
      serve; prints one line "ready URL" on standard output when requests are taken
  kipass-issuer officer add -data DIR NAME PUBKEY
      add an officer of the health authority whose orders are obeyed; a running server sees it at once
  kipass-issuer officer list -data DIR
  kipass-issuer public-key -data DIR -url URL
      print what the scheme operator needs for the trust list, as JSON (see kipass-scheme sign)
  kipass-issuer audit-key -data DIR
      print the key with which the audit log is checked (see kipass-inquiry audit)

Add -h to a command for its flags.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kipass-issuer:", err)
		stop()
		os.Exit(1)
	}
}

// command holds a subcommand's flags; every one takes the folders.
type command struct {
	*flag.FlagSet
	data, secrets *string
}

func newCommand(name string, stderr io.Writer) command {
	f := flag.NewFlagSet("kipass-issuer "+name, flag.ContinueOnError)
	f.SetOutput(stderr)
	return command{
		FlagSet: f,
		data:    f.String("data", "", "`folder` of the issuer (required)"),
		secrets: f.String("secrets", "", "`folder` of the secrets, apart from the data (default DATA/secret)"),
	}
}

// read parses args and checks how many are left over.
func (c command) read(args []string, rest int) error {
	if err := c.Parse(args); err != nil {
		return err
	}
	if *c.data == "" {
		return errors.New("-data is required")
	}
	if c.NArg() != rest {
		return fmt.Errorf("%s: %d arguments after the flags, want %d (flags come first; see -h)", c.Name(), c.NArg(), rest)
	}
	return nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	name := ""
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	if name == "officer" && len(args) > 0 {
		name, args = "officer "+args[0], args[1:]
	}
	switch name {
	case "init":
		return initFolder(args, stderr)
	case "serve":
		return serve(ctx, args, stdout, stderr)
	case "officer add":
		return officerAdd(args, stderr)
	case "officer list":
		return officerList(args, stdout, stderr)
	case "public-key":
		return publicKey(args, stdout, stderr)
	case "audit-key":
		return auditKey(args, stdout, stderr)
	case "-h", "--help", "help":
		fmt.Fprint(stdout, usage)
		return nil
	}
	return fmt.Errorf("no command %q\n\n%s", name, usage)
}

func initFolder(args []string, stderr io.Writer) error {
	c := newCommand("init", stderr)
	name := c.String("name", "", "short `name`, 1 to 16 of a-z, 0-9 and '-' (required)")
	display := c.String("display", "", "name for people, for example 네이버 (default the short name)")
	var hosts []string
	c.Func("host", "host `name` or address for the TLS certificate, may be repeated; the first one stands in the URL (default 127.0.0.1 and localhost)", func(s string) error {
		for _, h := range strings.Split(s, ",") {
			if h == "" {
				return errors.New("empty host")
			}
			hosts = append(hosts, h)
		}
		return nil
	})
	if err := c.read(args, 0); err != nil {
		return err
	}
	if len(hosts) == 0 {
		hosts = []string{"127.0.0.1", "localhost"}
	}
	err := issuer.Init(*c.data, *c.secrets, issuer.About{Name: *name, Display: *display, Hosts: hosts}, time.Now())
	if err != nil {
		return err
	}
	fmt.Fprintf(stderr, "made issuer %s in %s\n", *name, *c.data)
	return nil
}
