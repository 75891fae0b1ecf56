// Command kipass-visits is the central visit server and its operator's tool.
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
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
	case errors.As(err, new(usageError)):
		fmt.Fprintf(os.Stderr, "kipass-visits: %v\nkipass-visits --help tells how it is used\n", err)
		os.Exit(2)
	default:
		fmt.Fprintf(os.Stderr, "kipass-visits: %v\n", err)
		os.Exit(1)
	}
}

// usageError says that the command line is wrong.
type usageError string

func (e usageError) Error() string { return string(e) }

const help = `kipass-visits - central visit server of the electronic entry register (전자출입명부 방문 서버)

  kipass-visits init  -data DIR [-master FILE] [-host NAME ...]
        make a new server in DIR: its keys, its certificate authorities, its audit log's key
  kipass-visits serve -data DIR [-master FILE] [-listen ADDR] [-log LEVEL]
        serve terminals, facility managers and the health authority; prints "ready https://ADDR" on standard output

While it serves, by whoever may use DIR/admin.sock; each prints one line of JSON:
  kipass-visits facility add    -data DIR FACILITY [NAME]   register a facility
  kipass-visits terminal add    -data DIR FACILITY GATE     print a one-time enrolment code, good for 24 h
  kipass-visits terminal revoke -data DIR FACILITY GATE     shut a gate out
  kipass-visits trust-root      -data DIR PUBKEY            set the scheme operator's key, once (32 bytes, hex or base64)
  kipass-visits trust-list      -data DIR FILE              install a newer signed trust list
  kipass-visits officer add     -data DIR NAME PUBKEY       obey an officer of the health authority (kipass-officer:...)
  kipass-visits officer remove  -data DIR NAME
  kipass-visits manager-token   -data DIR FACILITY          print a token with which the facility's counts are read
  kipass-visits counts          -data DIR FACILITY DAY      counts per hour and gate, DAY as 2006-01-02
  kipass-visits destroy         -data DIR [-confirm]        destroy now what is due (it happens by itself too); -confirm: the
                                                            clock is right, destroy also what a jump of it made due
  kipass-visits ledger          -data DIR                   what was taken from each gate's journal, and visits stored

At any time, by anybody with a copy of the log:
  kipass-visits log verify -log DIR -key VKEY [-older FILE] check the audit log against its signed checkpoint
`

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		return usageError("no command given")
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		_, err := io.WriteString(stdout, help)
		return err
	case "init":
		return runInit(args[1:], stdout)
	case "serve":
		return runServe(ctx, args[1:], stdout, stderr)
	case "log":
		return runLog(args[1:], stdout)
	}
	return runAdmin(ctx, args, stdout)
}
