// Command kipass-scheme is the scheme operator's tool: it keeps the root key and signs trust lists, which say whose
// entry codes are genuine.
package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

const usage = `kipass-scheme: root key and trust list of the electronic entry register

usage:
  kipass-scheme init -root FILE
      make the root key in FILE (keep it offline) and print its public half
  kipass-scheme public -root FILE
      print the public half again: 44 characters of base64, for gates, servers and authority
  kipass-scheme sign -root FILE -version N [-valid DURATION] -o LIST ISSUER.json...
      sign a trust list of these issuers (as 'kipass-issuer public-key' prints them); N must rise with every list
  kipass-scheme show -public KEY LIST
      check a trust list against the root's public half and print it as JSON
`

func main() {
	err := run(os.Args[1:], os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kipass-scheme:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	name := ""
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	f := flag.NewFlagSet("kipass-scheme "+name, flag.ContinueOnError)
	f.SetOutput(stderr)
	switch name {
	case "init", "public":
		root := f.String("root", "", "root key's `file` (required)")
		if err := f.Parse(args); err != nil {
			return err
		}
		if name == "init" {
			if err := makeRoot(*root); err != nil {
				return err
			}
		}
		key, err := readRoot(*root)
		if err != nil {
			return err
		}
		fmt.Fprintln(stdout, base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey)))
		return nil
	case "sign":
		root := f.String("root", "", "root key's `file` (required)")
		version := f.Uint64("version", 0, "`number` of the list, higher than of any before (required)")
		valid := f.Duration("valid", 30*24*time.Hour, "`how long` gates take the list without calling it stale")
		out := f.String("o", "", "`file` to write (required)")
		if err := f.Parse(args); err != nil {
			return err
		}
		return sign(*root, *version, *valid, *out, f.Args(), stderr)
	case "show":
		public := f.String("public", "", "root's public half, `base64` (required)")
		if err := f.Parse(args); err != nil {
			return err
		}
		if f.NArg() != 1 {
			return errors.New("show takes one list")
		}
		return show(*public, f.Arg(0), stdout)
	case "-h", "--help", "help":
		fmt.Fprint(stdout, usage)
		return nil
	}
	return fmt.Errorf("no command %q\n\n%s", name, usage)
}
