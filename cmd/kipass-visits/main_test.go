package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAServerFromInitToShutdown(t *testing.T) {
	base, err := os.MkdirTemp("", "kv")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	dir := filepath.Join(base, "data")
	var out bytes.Buffer
	do := func(args ...string) error {
		out.Reset()
		return run(t.Context(), args, &out, io.Discard)
	}
	if err := do("init", "-data", dir, "-host", "visits.test"); err != nil {
		t.Fatal(err)
	}
	if err := do("init", "-data", dir); err == nil {
		t.Error("a server was made over another")
	}
	if err := do("ledger", "-data", dir); err == nil || !strings.Contains(err.Error(), "is it running?") {
		t.Errorf("asked a server that does not run: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	lines, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"serve", "-data", dir, "-listen", "127.0.0.1:0", "-log", "warn"}, w, io.Discard)
		_ = w.Close()
	}()
	ready := make([]byte, 64)
	n, err := lines.Read(ready)
	if err != nil || !strings.HasPrefix(string(ready[:n]), "ready https://127.0.0.1:") {
		t.Fatalf("said %q, %v", ready[:n], err)
	}
	for _, c := range []struct {
		args []string
		key  string // a key of the result; "" for a command that must fail
	}{
		{[]string{"facility", "add", "-data", dir, "cafe", "카페"}, "facility"},
		{[]string{"facility", "add", "cafe", "-data", dir}, ""},
		{[]string{"facility", "add", "-data", dir, "Bad Name"}, ""},
		{[]string{"terminal", "add", "-data", dir, "cafe", "door"}, "code"},
		{[]string{"terminal", "add", "-data", dir, "cafe"}, ""},
		{[]string{"terminal", "add", "-data", dir, "nowhere", "door"}, ""},
		{[]string{"terminal", "revoke", "-data", dir, "cafe", "door"}, "revoked"},
		{[]string{"terminal", "revoke", "-data", dir, "cafe", "back"}, ""},
		{[]string{"manager-token", "-data", dir, "cafe"}, "token"},
		{[]string{"counts", "-data", dir, "cafe", "2020-07-01"}, "hours"},
		{[]string{"counts", "-data", dir, "cafe", "yesterday"}, ""},
		{[]string{"officer", "add", "-data", dir, "lee", "no key"}, ""},
		{[]string{"trust-list", "-data", dir, filepath.Join(dir, "missing")}, ""},
		{[]string{"destroy", "-data", dir}, "destroyed"},
		{[]string{"destroy", "-data", dir, "-confirm"}, "destroyed"},
		{[]string{"ledger", "-data", dir, "-confirm"}, ""},
		{[]string{"ledger", "-data", dir}, "gates"},
		{[]string{"serve", "-data", dir, "-listen", "127.0.0.1:0"}, ""}, // in use
	} {
		err := do(c.args...)
		var result map[string]any
		switch {
		case c.key == "" && err == nil:
			t.Errorf("%v succeeded", c.args)
		case c.key != "" && err != nil:
			t.Errorf("%v: %v", c.args, err)
		case c.key != "":
			if err := json.Unmarshal(out.Bytes(), &result); err != nil || result[c.key] == nil || strings.Count(out.String(), "\n") != 1 {
				t.Errorf("%v printed %q: %v", c.args, out.String(), err)
			}
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("ended with %v", err)
	}
	if err := do("log", "verify", "-log", filepath.Join(dir, "audit"), "-key", filepath.Join(dir, "audit.vkey")); err != nil {
		t.Errorf("the audit log: %v", err)
	}
}

func TestWrongCommandLines(t *testing.T) {
	for _, args := range [][]string{
		{}, {"open"}, {"serve"}, {"init"}, {"ledger"}, {"terminal"}, {"terminal", "sell", "-data", "x"}, {"serve", "-data", "x", "more"},
		{"serve", "-port", "1"}, {"log", "verify"}, {"log"}, {"trust-list", "-data", "x"}, {"serve", "-data", "x", "-log", "loud"},
	} {
		var usage usageError
		if err := run(t.Context(), args, io.Discard, io.Discard); !errors.As(err, &usage) {
			t.Errorf("%q: %v, want a usage error", args, err)
		}
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--help"}, &out, io.Discard); err != nil || out.String() != help {
		t.Errorf("help: %v", err)
	}
}
