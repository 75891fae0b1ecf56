package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/internal/cli/clitest"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/token"
)

const goodMetadata = `{"name":"naver","display":"네이버","url":"https://naver.example.kr","keys":[
	{"public":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=","not_before":"2020-06-01T00:00:00Z","not_after":"2021-06-01T00:00:00Z"}]}`

func TestConforms(t *testing.T) { clitest.Conforms(t, newProgram) }

// scheme runs the program and returns its output and exit status.
func scheme(t *testing.T, args ...string) (string, int) {
	t.Helper()
	r := clitest.Run(t, newProgram(), args...)
	return strings.TrimSpace(r.Out), r.Status
}

func TestSignedListShowsWhatTheIssuersSay(t *testing.T) {
	dir := t.TempDir()
	root, issuerFile, list := filepath.Join(dir, "root"), filepath.Join(dir, "naver.json"), filepath.Join(dir, "list")
	if err := os.WriteFile(issuerFile, []byte(goodMetadata), 0o644); err != nil {
		t.Fatal(err)
	}
	pub, status := scheme(t, "init", "--root-key", root)
	if status != 0 || len(pub) != 44 {
		t.Fatalf("init = %q, status %d", pub, status)
	}
	if again, status := scheme(t, "public", "--root-key", root); status != 0 || again != pub {
		t.Errorf("public = %q, status %d", again, status)
	}
	if _, status := scheme(t, "sign", "--root-key", root, "--list-version", "7", "--output", list, issuerFile); status != 0 {
		t.Fatal("not signed")
	}
	text, status := scheme(t, "show", "--trust-root", pub, list)
	if status != 0 {
		t.Fatal("not shown")
	}
	var shown struct {
		Version uint64
		Issuers []token.IssuerMetadata
	}
	if err := json.Unmarshal([]byte(text), &shown); err != nil {
		t.Fatal(err)
	}
	var want token.IssuerMetadata
	if err := json.Unmarshal([]byte(goodMetadata), &want); err != nil {
		t.Fatal(err)
	}
	if shown.Version != 7 || len(shown.Issuers) != 1 {
		t.Fatalf("shown = %s", text)
	}
	if got := shown.Issuers[0]; got.Name != want.Name || got.Display != want.Display || got.URL != want.URL || len(got.Keys) != 1 || got.Keys[0] != want.Keys[0] {
		t.Errorf("issuer = %+v, want %+v", got, want)
	}
}

func TestSchemeRefuses(t *testing.T) {
	dir := t.TempDir()
	root, other, out := filepath.Join(dir, "root"), filepath.Join(dir, "other"), filepath.Join(dir, "out")
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good.json", goodMetadata)
	if _, status := scheme(t, "init", "--root-key", root); status != 0 {
		t.Fatal("no root key")
	}
	otherPub, status := scheme(t, "init", "--root-key", other)
	if status != 0 {
		t.Fatal("no other root key")
	}
	list := filepath.Join(dir, "list")
	if _, status := scheme(t, "sign", "--root-key", root, "--list-version", "1", "--output", list, good); status != 0 {
		t.Fatal("not signed")
	}
	sign := func(args ...string) []string {
		return append([]string{"sign", "--root-key", root, "--output", out}, args...)
	}
	first := []string{"--list-version", "1"}
	signFirst := func(args ...string) []string { return sign(append(first, args...)...) }
	for name, c := range map[string]struct {
		args   []string
		status int
	}{
		"making a root key over another":    {[]string{"init", "--root-key", root}, cli.StatusFailed},
		"no version":                        {sign(good), cli.StatusUsage},
		"version 0":                         {sign("--list-version", "0", good), cli.StatusFailed},
		"no issuer":                         {signFirst(), cli.StatusUsage},
		"one issuer twice":                  {signFirst(good, good), cli.StatusFailed},
		"a list already expired":            {signFirst("--valid", "-1s", good), cli.StatusFailed},
		"metadata with an unknown field":    {signFirst(file("a", strings.Replace(goodMetadata, `"name"`, `"x":1,"name"`, 1))), cli.StatusFailed},
		"metadata with bytes after its end": {signFirst(file("b", goodMetadata+"{}")), cli.StatusFailed},
		"metadata without keys":             {signFirst(file("c", `{"name":"naver","display":"","url":"","keys":[]}`)), cli.StatusFailed},
		"a key that is too short":           {signFirst(file("d", strings.Replace(goodMetadata, "AQEB", "", 1))), cli.StatusFailed},
		"a key that ends first":             {signFirst(file("e", strings.Replace(goodMetadata, "2021-", "2019-", 1))), cli.StatusFailed},
		"showing under another root":        {[]string{"show", "--trust-root", otherPub, list}, cli.StatusFailed},
		"showing under no root at all":      {[]string{"show", "--trust-root", "AAAA", list}, cli.StatusUsage},
	} {
		if _, status := scheme(t, c.args...); status != c.status {
			t.Errorf("%s: status %d, want %d", name, status, c.status)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a list was written")
	}
}

func TestARootKeyThatIsOpenSignsNothing(t *testing.T) {
	dir := t.TempDir()
	root, issuerFile, list := filepath.Join(dir, "root"), filepath.Join(dir, "naver.json"), filepath.Join(dir, "list")
	testkit.Check(t, os.WriteFile(issuerFile, []byte(goodMetadata), 0o600))
	if _, status := scheme(t, "init", "--root-key", root); status != cli.StatusDone {
		t.Fatal("no root key was made")
	}
	testkit.Check(t, os.Chmod(root, 0o644))
	r := clitest.Run(t, newProgram(), "sign", "--root-key", root, "--list-version", "7", "--output", list, issuerFile)
	if r.Status != cli.StatusFailed || !strings.Contains(r.Err, "chmod 600 "+root) {
		t.Errorf("status %d, %s", r.Status, r.Err)
	}
	if _, err := os.Stat(list); err == nil {
		t.Error("a list was signed")
	}
}
