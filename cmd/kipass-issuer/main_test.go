package main

import (
	"crypto/ed25519"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/internal/cli/clitest"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/token"
)

func TestConforms(t *testing.T) { clitest.Conforms(t, newProgram) }

// A folder is made, and its commands tell of it what others need.
func TestFolder(t *testing.T) {
	dir, secrets := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "secrets")
	run := func(status int, args ...string) string {
		t.Helper()
		r := clitest.Run(t, newProgram(), args...)
		if r.Status != status {
			t.Fatalf("%q: status %d, want %d: %s", args, r.Status, status, r.Err)
		}
		return r.Out
	}
	run(cli.StatusDone, "init", "--data", dir, "--secrets", secrets, "--name", "naver", "--display", "네이버")
	run(cli.StatusFailed, "init", "--data", dir, "--secrets", secrets, "--name", "naver")
	pub, _, err := ed25519.GenerateKey(nil)
	testkit.Check(t, err)
	officer := "kim " + order.FormatPublicKey(pub) + "\n"
	run(cli.StatusDone, append([]string{"officer", "add", "--data", dir, "--secrets", secrets}, strings.Fields(officer)...)...)
	run(cli.StatusFailed, "officer", "add", "--data", dir, "--secrets", secrets, "lee", "no key")
	run(cli.StatusFailed, "officer", "remove", "--data", dir, "kim") // the secrets lie elsewhere
	run(cli.StatusFailed, "officer", "remove", "--data", dir, "--secrets", secrets, "lee")
	run(cli.StatusFailed, "authority-root", "--data", dir, "--secrets", secrets, order.FormatPublicKey(pub))
	run(cli.StatusDone, "authority-root", "--data", dir, "--secrets", secrets, order.FormatRoot(pub))
	if list := run(cli.StatusDone, "officer", "list", "--data", dir); list != officer {
		t.Errorf("officers %q, want %q", list, officer)
	}
	run(cli.StatusDone, "officer", "remove", "--data", dir, "--secrets", secrets, "kim")
	if list := run(cli.StatusDone, "officer", "list", "--data", dir); list != "" {
		t.Errorf("officers %q are left", list)
	}
	if token := run(cli.StatusDone, "token", "add", "--data", dir, "--secrets", secrets, "desk-1"); len(strings.TrimSpace(token)) != 43 {
		t.Errorf("a token of %d characters", len(token))
	}
	if list := run(cli.StatusDone, "token", "list", "--data", dir); !strings.HasPrefix(list, "desk-1 ") {
		t.Errorf("tokens %q", list)
	}
	run(cli.StatusFailed, "token", "add", "--data", dir, "--secrets", secrets, "desk-1")
	run(cli.StatusDone, "token", "revoke", "--data", dir, "--secrets", secrets, "desk-1")
	run(cli.StatusFailed, "token", "revoke", "--data", dir, "--secrets", secrets, "desk-1")
	metadata := run(cli.StatusDone, "public-key", "--data", dir, "--secrets", secrets, "--url", "https://issuer.test")
	about := testkit.Must(token.ReadMetadata(strings.NewReader(metadata)))(t)
	if about.Name != "naver" || about.Display != "네이버" || about.URL != "https://issuer.test" || len(about.Keys) != 1 {
		t.Errorf("the trust list would say %+v", about)
	}
	run(cli.StatusUsage, "public-key", "--data", dir, "--secrets", secrets, "--url", "http://issuer.test")
	run(cli.StatusFailed, "public-key", "--data", dir, "--url", "https://issuer.test") // the secrets lie elsewhere
	if key := run(cli.StatusDone, "audit-key", "--data", dir, "--secrets", secrets); strings.Count(key, "+") < 2 {
		t.Errorf("audit key %q", key)
	}
	run(cli.StatusUsage, "serve", "--data", dir, "--rate", "-1")
	run(cli.StatusFailed, "serve", "--data", dir, "--listen", "no address")
}
