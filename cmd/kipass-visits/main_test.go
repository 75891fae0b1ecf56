package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/internal/cli/clitest"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/order"
)

func TestConforms(t *testing.T) { clitest.Conforms(t, newProgram) }

// start serves a folder and returns what ends the server and gives its exit status.
func start(t *testing.T, dir string) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	lines, w := io.Pipe()
	done := make(chan int, 1)
	go func() {
		args := []string{"serve", "--data", dir, "--listen", "127.0.0.1:0", "--log-level", "warn"}
		done <- cli.Run(ctx, newProgram(), args, cli.Streams{Out: w, Err: t.Output()})
		_ = w.Close()
	}()
	ready := make([]byte, 64)
	n, err := lines.Read(ready)
	if err != nil || !strings.HasPrefix(string(ready[:n]), "ready https://127.0.0.1:") {
		t.Fatalf("said %q, %v", ready[:n], err)
	}
	return func() int {
		cancel()
		return <-done
	}
}

func TestAServerFromInitToShutdown(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("자료", 40), "data") // longer than a socket's address
	do := func(args ...string) clitest.Result { return clitest.Run(t, newProgram(), args...) }
	if r := do("init", "--data", dir, "--host", "visits.test"); r.Status != cli.StatusDone {
		t.Fatal(r.Err)
	}
	if r := do("init", "--data", dir); r.Status != cli.StatusFailed {
		t.Error("a server was made over another")
	}
	if r := do("ledger", "--data", dir); r.Status != cli.StatusFailed || !strings.Contains(r.Err, "is it running?") {
		t.Errorf("asked a server that does not run: %+v", r)
	}
	if secrets := testkit.Must(os.ReadDir(dir + ".secrets"))(t); len(secrets) != 1 {
		t.Errorf("secrets: %v", secrets)
	}
	stop := start(t, dir)
	pub, _, err := ed25519.GenerateKey(nil)
	testkit.Check(t, err)
	for _, c := range []struct {
		args   []string // but for --data
		key    string   // a key of the result; "" for a command that must fail
		status int
	}{
		{[]string{"facility", "add", "cafe", "카페"}, "facility", cli.StatusDone},
		{[]string{"facility", "add", "cafe"}, "", cli.StatusFailed},
		{[]string{"facility", "add", "Bad Name"}, "", cli.StatusFailed},
		{[]string{"terminal", "add", "cafe", "door"}, "code", cli.StatusDone},
		{[]string{"terminal", "add", "cafe"}, "", cli.StatusUsage},
		{[]string{"terminal", "add", "nowhere", "door"}, "", cli.StatusFailed},
		{[]string{"terminal", "revoke", "cafe", "door"}, "revoked", cli.StatusDone},
		{[]string{"terminal", "revoke", "cafe", "back"}, "", cli.StatusFailed},
		{[]string{"manager", "add", "cafe", "owner"}, "token", cli.StatusDone},
		{[]string{"manager", "add", "cafe", "owner"}, "", cli.StatusFailed},
		{[]string{"manager", "add", "cafe", "주인"}, "", cli.StatusFailed},
		{[]string{"manager", "list", "cafe"}, "managers", cli.StatusDone},
		{[]string{"manager", "revoke", "cafe", "owner"}, "revoked", cli.StatusDone},
		{[]string{"manager", "revoke", "cafe", "owner"}, "", cli.StatusFailed},
		{[]string{"counts", "cafe", "2020-07-01"}, "hours", cli.StatusDone},
		{[]string{"counts", "cafe", "yesterday"}, "", cli.StatusFailed},
		{[]string{"officer", "add", "lee", "no key"}, "", cli.StatusFailed},
		{[]string{"officer", "add", "lee", order.FormatPublicKey(pub)}, "officer", cli.StatusDone},
		{[]string{"officer", "list"}, "officers", cli.StatusDone},
		{[]string{"officer", "remove", "lee"}, "removed", cli.StatusDone},
		{[]string{"officer", "remove", "lee"}, "", cli.StatusFailed},
		{[]string{"authority-root", hex.EncodeToString(pub)}, "", cli.StatusFailed},
		{[]string{"authority-root", order.FormatRoot(pub)}, "authority", cli.StatusDone},
		{[]string{"trust-root", hex.EncodeToString(pub)}, "set", cli.StatusDone},
		{[]string{"trust-list", filepath.Join(dir, "missing")}, "", cli.StatusFailed},
		{[]string{"trust-list", filepath.Join(dir, "audit.vkey")}, "", cli.StatusFailed},
		{[]string{"alert", "list"}, "alerts", cli.StatusDone},
		{[]string{"alert", "acknowledge", "cafe", "door"}, "", cli.StatusFailed}, // it has none
		{[]string{"alert", "acknowledge", "cafe"}, "", cli.StatusUsage},
		{[]string{"destroy"}, "destroyed", cli.StatusDone},
		{[]string{"destroy", "--confirm-clock"}, "destroyed", cli.StatusDone},
		{[]string{"ledger", "--confirm-clock"}, "", cli.StatusUsage},
		{[]string{"ledger"}, "gates", cli.StatusDone},
		{[]string{"serve", "--listen", "127.0.0.1:0"}, "", cli.StatusFailed}, // in use
	} {
		r := do(append(c.args, "--data", dir)...)
		if r.Status != c.status {
			t.Errorf("%v: status %d, want %d: %s", c.args, r.Status, c.status, r.Err)
		}
		var result map[string]any
		if err := json.Unmarshal([]byte(r.Out), &result); c.key != "" && (err != nil || result[c.key] == nil || strings.Count(r.Out, "\n") != 1) {
			t.Errorf("%v printed %q: %v", c.args, r.Out, err)
		}
	}
	if status := stop(); status != cli.StatusDone {
		t.Errorf("ended with status %d", status)
	}
	log, key := filepath.Join(dir, "audit"), filepath.Join(dir, "audit.vkey")
	if r := do("audit", "--audit-log", log, "--audit-key", key); r.Status != cli.StatusDone {
		t.Errorf("the audit log: %s", r.Err)
	}
	if r := do("audit", "--audit-log", log, "--audit-key", key, "--since", filepath.Join(dir, "server-ca.pem")); r.Status != cli.StatusFailed {
		t.Error("the audit log continues what is no checkpoint")
	}
}
