package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/visitserver"
)

// parse reads flags that may stand before and after the arguments.
func parse(fs *flag.FlagSet, args []string) ([]string, error) {
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	var plain []string
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				fmt.Print(help)
				return nil, err
			}
			return nil, usageError(err.Error())
		}
		if fs.NArg() == 0 {
			return plain, nil
		}
		plain, args = append(plain, fs.Arg(0)), fs.Args()[1:]
	}
}

// folderFlags adds the flags that say where the server lives.
func folderFlags(fs *flag.FlagSet) *visitserver.Folder {
	f := &visitserver.Folder{}
	fs.StringVar(&f.Dir, "data", "", "folder of the server")
	fs.StringVar(&f.Master, "master", "", "file of the master key")
	return f
}

func checkFolder(f *visitserver.Folder) error {
	if f.Dir == "" {
		return usageError("-data DIR is needed")
	}
	return nil
}

// parseAlone reads the flags of a command that takes no arguments.
func parseAlone(fs *flag.FlagSet, args []string, f *visitserver.Folder) error {
	rest, err := parse(fs, args)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return usageError(fs.Name() + " takes no arguments")
	}
	return checkFolder(f)
}

func runInit(args []string, stdout io.Writer) error {
	fs := flag.NewFlagSet("init", flag.ContinueOnError)
	folder := folderFlags(fs)
	var hosts []string
	fs.Func("host", "DNS name or IP address of the server; may be repeated", func(s string) error {
		hosts = append(hosts, s)
		return nil
	})
	if err := parseAlone(fs, args, folder); err != nil {
		return err
	}
	if len(hosts) == 0 {
		hosts = []string{"localhost", "127.0.0.1", "::1"}
		if name, err := os.Hostname(); err == nil && !slices.Contains(hosts, name) {
			hosts = append(hosts, name)
		}
	}
	if err := folder.Init(hosts, time.Now()); err != nil {
		return err
	}
	_, err := fmt.Fprintf(stdout, "made a visit server in %s for %s\n", folder.Dir, strings.Join(hosts, ", "))
	return err
}

func runServe(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	folder := folderFlags(fs)
	listen := fs.String("listen", ":8443", "address to listen on; port 0 for any")
	var level slog.Level
	fs.TextVar(&level, "log", slog.LevelInfo, "least level that is logged: debug, info, warn or error")
	if err := parseAlone(fs, args, folder); err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	return serve(ctx, *folder, *listen, logger, stdout)
}

// runAdmin passes a command on to the running server.
func runAdmin(ctx context.Context, args []string, stdout io.Writer) error {
	name := args[0]
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	folder := folderFlags(fs)
	confirm := false
	if name == "destroy" {
		fs.BoolVar(&confirm, "confirm", false, "the server's clock is right: destroy what is held back")
	}
	rest, err := parse(fs, args[1:])
	if err != nil {
		return err
	}
	if !visitserver.IsCommand(name) {
		if len(rest) == 0 || !visitserver.IsCommand(name+" "+rest[0]) {
			return usageError(fmt.Sprintf("no command is called %q", strings.Join(append([]string{name}, rest...), " ")))
		}
		name, rest = name+" "+rest[0], rest[1:]
	}
	if err := checkFolder(folder); err != nil {
		return err
	}
	req := visitserver.AdminRequest{Command: name, Args: rest}
	if confirm {
		req.Args = append(req.Args, visitserver.ConfirmClock)
	}
	if name == "trust-list" {
		if len(rest) != 1 {
			return usageError("usage: trust-list -data DIR FILE")
		}
		if req.File, err = os.ReadFile(rest[0]); err != nil {
			return fmt.Errorf("reading the trust list: %w", err)
		}
		req.Args = nil
	}
	result, err := folder.Admin(ctx, req)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s\n", result)
	return err
}

func runLog(args []string, stdout io.Writer) error {
	fs := flag.NewFlagSet("log", flag.ContinueOnError)
	dir := fs.String("log", "", "folder of the audit log")
	key := fs.String("key", "", "the log's public key, or a file that holds it")
	var older [][]byte
	fs.Func("older", "file of an older checkpoint that must still hold; may be repeated", func(path string) error {
		b, err := os.ReadFile(path)
		older = append(older, b)
		return err
	})
	rest, err := parse(fs, args)
	if err != nil {
		return err
	}
	if len(rest) != 1 || rest[0] != "verify" || *dir == "" || *key == "" {
		return usageError("usage: log verify -log DIR -key VKEY [-older FILE]")
	}
	vkey := *key
	if b, err := os.ReadFile(*key); err == nil {
		vkey = strings.TrimSpace(string(b))
	}
	report, err := auditlog.VerifyDir(*dir, vkey, older...)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "the audit log holds: %+v\n", report)
	return err
}
