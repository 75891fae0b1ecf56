package main

import (
	"crypto/ed25519"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
	metadata := run(cli.StatusDone, "public-key", "--data", dir, "--url", "https://issuer.test")
	about := testkit.Must(token.ReadMetadata(strings.NewReader(metadata)))(t)
	if about.Name != "naver" || about.Display != "네이버" || about.URL != "https://issuer.test" || len(about.Keys) != 1 {
		t.Errorf("the trust list would say %+v", about)
	}
	run(cli.StatusUsage, "public-key", "--data", dir, "--url", "http://issuer.test")
	rotateKeys(t, dir, secrets, run)
	if key := run(cli.StatusDone, "audit-key", "--data", dir, "--secrets", secrets); strings.Count(key, "+") < 2 {
		t.Errorf("audit key %q", key)
	}
	run(cli.StatusUsage, "serve", "--data", dir, "--rate", "-1")
	run(cli.StatusFailed, "serve", "--data", dir, "--listen", "no address")
}

// Whoever hands the secrets over as systemd credentials goes by the names that docs/setup.md gives them.
func TestSetupNamesEverySecret(t *testing.T) {
	dir, secrets := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "secrets")
	if r := clitest.Run(t, newProgram(), "init", "--data", dir, "--secrets", secrets, "--name", "naver"); r.Status != cli.StatusDone {
		t.Fatalf("status %d: %s", r.Status, r.Err)
	}
	list := clitest.Run(t, newProgram(), "keys", "list", "--data", dir)
	key, _, _ := strings.Cut(list.Out, " ")
	setup := string(testkit.Must(os.ReadFile(filepath.Join("..", "..", "docs", "setup.md")))(t))
	_, english, _ := strings.Cut(setup, "For an issuer the credentials are")
	english, korean, _ := strings.Cut(english, "발급회사의 인증 정보는")
	korean, _, _ = strings.Cut(korean, "\n## ")
	for _, e := range testkit.Must(os.ReadDir(secrets))(t) {
		name := "`" + strings.ReplaceAll(e.Name(), key, "KEY") + "`"
		if !strings.Contains(english, name) || !strings.Contains(korean, name) {
			t.Errorf("docs/setup.md does not name %s in both languages", name)
		}
	}
}

// rotateKeys makes a key, has it put on a trust list, and puts it to use.
func rotateKeys(t *testing.T, dir, secrets string, run func(status int, args ...string) string) {
	t.Helper()
	if list := run(cli.StatusDone, "keys", "list", "--data", dir); strings.Count(list, " signs ") != 1 || strings.Count(list, "\n") != 1 {
		t.Errorf("keys %q", list)
	}
	made := run(cli.StatusDone, "keys", "rotate", "--data", dir, "--secrets", secrets)
	run(cli.StatusFailed, "keys", "rotate", "--data", dir, "--secrets", secrets) // one waits
	about := run(cli.StatusDone, "public-key", "--data", dir, "--url", "https://issuer.test")
	i := testkit.Must(token.ReadMetadata(strings.NewReader(about)))(t)
	if len(i.Keys) != 2 || !strings.HasPrefix(made, token.KeyID(i.Keys[1].Public).String()+" waits ") {
		t.Fatalf("made %q, the trust list would say %+v", made, i)
	}
	pub, root, err := ed25519.GenerateKey(nil)
	testkit.Check(t, err)
	sign := func(name string, i token.Issuer) string {
		list := token.TrustList{Version: 1, IssuedAt: time.Now(), Expires: time.Now().Add(time.Hour), Issuers: []token.Issuer{i}}
		path := filepath.Join(secrets, name)
		testkit.Check(t, os.WriteFile(path, testkit.Must(token.SignTrustList(root, list))(t), 0o600))
		return path
	}
	activate := func(status int, list string, more ...string) string {
		return run(status, append([]string{"keys", "activate", "--data", dir, "--secrets", secrets, "--trust-list", list,
			"--trust-root", hex.EncodeToString(pub)}, more...)...)
	}
	whole, without := i, i
	without.Keys = i.Keys[:1]
	activate(cli.StatusFailed, sign("without", without))
	activate(cli.StatusFailed, filepath.Join(secrets, "missing"))
	if got := activate(cli.StatusDone, sign("whole", whole)); !strings.Contains(got, " comes from ") {
		t.Errorf("activated: %q", got)
	}
	activate(cli.StatusFailed, sign("again", whole))
	if list := run(cli.StatusDone, "keys", "list", "--data", dir); !strings.Contains(list, " signs ") || !strings.Contains(list, " comes ") {
		t.Errorf("keys %q", list)
	}
}
