// Command kipass-inquiry is the health authority's program: officers order and approve an inquiry, and the contact list
// of one case is made, read and destroyed with it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/kipass/kipass/inquiry"
)

const usage = `kipass-inquiry: inquiries of the health authority (질병관리본부 접촉자 조사)

usage:
  kipass-inquiry keygen authority -home DIR
      make the authority's folder
  kipass-inquiry keygen officer -o KEYFILE NAME
      make an officer's key and print "NAME PUBKEY", for every register of officers
  kipass-inquiry officer add -home DIR NAME PUBKEY
      add an officer to the authority's own register
  kipass-inquiry order -home DIR -key KEYFILE -officer NAME -case NUMBER -purpose TEXT
                       -facility NAME -from TIME -to TIME [-valid DURATION] -o SIGNED
      sign an order; prints its id
  kipass-inquiry approve -home DIR -key KEYFILE [-yes] -o APPROVED SIGNED
      show a signed order and approve it with another officer's key
  kipass-inquiry run -home DIR -visits URL -visits-ca FILE -trust LIST -root KEY
                     -issuer-ca [NAME=]FILE... [-json] APPROVED
      ask the visit server and the issuers, write the encrypted contact list; exit status 3 and a list marked
      incomplete if an issuer fails: run it again for the rest
  kipass-inquiry open -home DIR [-format csv|json] ORDER-ID
      decrypt a contact list to standard output
  kipass-inquiry destroy -home DIR ORDER-ID
      destroy an order's key, answers and contact list
  kipass-inquiry audit -key VKEY (-dir DIR | -url URL -ca FILE) [-since CHECKPOINT]... [-list] [-save FILE]
      check anybody's audit log
  kipass-inquiry audit-key -home DIR
      print the key with which the authority's own audit log is checked

TIME is 2006-01-02T15:04:05+09:00 or "2006-01-02 15:04" in Korean time. Add -h to a command for its flags.
`

// exitPartial is the status of a run that wrote an incomplete list.
const exitPartial = 3

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return
	}
	fmt.Fprintln(os.Stderr, "kipass-inquiry:", err)
	if errors.Is(err, inquiry.ErrPartial) {
		os.Exit(exitPartial)
	}
	os.Exit(1)
}

// command is a subcommand with its flags and streams.
type command struct {
	*flag.FlagSet
	stdin          io.Reader
	stdout, stderr io.Writer
}

// read parses args; required names flags that must not be empty, rest is how many arguments follow the flags.
func (c *command) read(args []string, rest int, required ...string) error {
	if err := c.Parse(args); err != nil {
		return err
	}
	for _, name := range required {
		if c.Lookup(name).Value.String() == "" {
			return fmt.Errorf("-%s is required", name)
		}
	}
	if c.NArg() != rest {
		return fmt.Errorf("%s: %d arguments after the flags, want %d (flags come first; see -h)", c.Name(), c.NArg(), rest)
	}
	return nil
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	name := ""
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	if (name == "keygen" || name == "officer") && len(args) > 0 {
		name, args = name+" "+args[0], args[1:]
	}
	f := flag.NewFlagSet("kipass-inquiry "+name, flag.ContinueOnError)
	f.SetOutput(stderr)
	c := &command{FlagSet: f, stdin: stdin, stdout: stdout, stderr: stderr}
	switch name {
	case "keygen authority":
		return c.keygenAuthority(args)
	case "keygen officer":
		return c.keygenOfficer(args)
	case "officer add":
		return c.officerAdd(args)
	case "order":
		return c.order(args)
	case "approve":
		return c.approve(args)
	case "run":
		return c.run(ctx, args)
	case "open":
		return c.open(args)
	case "destroy":
		return c.destroy(args)
	case "audit":
		return c.audit(ctx, args)
	case "audit-key":
		return c.auditKey(args)
	case "-h", "--help", "help":
		fmt.Fprint(stdout, usage)
		return nil
	}
	return fmt.Errorf("no command %q\n\n%s", name, usage)
}

// home adds the flag every command on the authority's folder has.
func (c *command) home() *string { return c.String("home", "", "the authority's `folder` (required)") }

// withAuthority runs f with the folder open.
func withAuthority(dir string, f func(*inquiry.Authority) error) error {
	a, err := inquiry.Open(dir, time.Now)
	if err != nil {
		return err
	}
	return errors.Join(f(a), a.Close())
}
