package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/inquiry"
	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/internal/cli/clitest"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/token"
)

// fixture is all parties but the gates: the authority with two officers, a visit server that knows them, and issuers.
type fixture struct {
	dir, data     string   // data is the authority's folder
	register      []string // officers, as every register has them
	authorityRoot string   // as all who are asked pin it
	root          ed25519.PrivateKey
	trust         *token.Trust
	visits        *visitServer
	issuers       map[string]*issuerProcess
}

func (f *fixture) path(name string) string { return filepath.Join(f.dir, name) }

func newFixture(t *testing.T, issuers ...string) *fixture {
	t.Helper()
	f := &fixture{dir: t.TempDir(), issuers: map[string]*issuerProcess{}}
	f.data = f.path("authority")
	f.authorityRoot = succeed(t, "init", "--data", f.data)
	for _, name := range []string{"kim", "lee"} {
		line := succeed(t, "officer", "keygen", "--output", f.path(name+".key"), name)
		f.register = append(f.register, line)
		succeed(t, append([]string{"officer", "add", "--data", f.data}, strings.Fields(line)...)...)
	}
	f.visits = startVisitServer(t, order.Trusted{
		Officers: testkit.Must(order.ParseOfficers([]byte(strings.Join(f.register, "\n"))))(t),
		Root:     testkit.Must(order.ParseRoot(f.authorityRoot))(t),
	})
	f.visits.writeCA(t, f.path("visits-ca.pem"))
	f.addIssuers(t, issuers)
	return f
}

// addIssuers starts issuers and signs the trust list that names them.
func (f *fixture) addIssuers(t *testing.T, names []string) {
	t.Helper()
	list := token.TrustList{Version: 1, IssuedAt: time.Now(), Expires: time.Now().Add(time.Hour)}
	for _, name := range names {
		dir := f.path(name)
		kipassIssuer(t, "init", "--data", dir, "--name", name, "--display", "발급회사 "+name, "--host", "127.0.0.1")
		for _, line := range f.register {
			kipassIssuer(t, append([]string{"officer", "add", "--data", dir}, strings.Fields(line)...)...)
		}
		kipassIssuer(t, "authority-root", "--data", dir, f.authorityRoot)
		f.issuers[name] = startIssuer(t, dir, "127.0.0.1:0")
		about := kipassIssuer(t, "public-key", "--data", dir, "--url", f.issuers[name].url)
		list.Issuers = append(list.Issuers, testkit.Must(token.ReadMetadata(strings.NewReader(about)))(t))
	}
	f.root = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	raw := testkit.Must(token.SignTrustList(f.root, list))(t)
	testkit.Check(t, os.WriteFile(f.path("trust.list"), raw, 0o644))
	f.trust = token.NewTrust(f.root.Public().(ed25519.PublicKey))
	testkit.Check(t, f.trust.Update(raw))
}

// kipassInquiry runs a command of the program.
func kipassInquiry(t *testing.T, args ...string) clitest.Result {
	t.Helper()
	return clitest.Run(t, newProgram(), args...)
}

// succeed runs a command that has to succeed and returns its standard output.
func succeed(t *testing.T, args ...string) string {
	t.Helper()
	return done(t, kipassInquiry(t, args...))
}

// done returns the standard output of a command that has to have succeeded.
func done(t *testing.T, r clitest.Result) string {
	t.Helper()
	if r.Status != cli.StatusDone {
		t.Fatalf("exit status %d: %s", r.Status, r.Err)
	}
	return strings.TrimSpace(r.Out)
}

func (f *fixture) orderArgs(file string) []string {
	now := time.Now()
	return []string{
		"order", "--data", f.data, "--officer-key", f.path("kim.key"), "--officer", "kim", "--case", "2020-17",
		"--purpose", "접촉자 조사", "--facility", "hongdae-12", "--from", now.Add(-time.Hour).Format(time.RFC3339),
		"--to", now.Add(time.Minute).Format(time.RFC3339), "--output", f.path(file),
	}
}

func (f *fixture) approved(t *testing.T) (id, file string) {
	t.Helper()
	id = succeed(t, f.orderArgs("order.signed")...)
	succeed(t, "approve", "--data", f.data, "--officer-key", f.path("lee.key"), "--yes", "--output", f.path("order.approved"), f.path("order.signed"))
	return id, f.path("order.approved")
}

// run carries out an order and returns the summary, if there is one.
func (f *fixture) run(t *testing.T, file string) (clitest.Result, inquiry.Summary) {
	t.Helper()
	root := base64.StdEncoding.EncodeToString(f.root.Public().(ed25519.PublicKey))
	args := []string{
		"run", "--data", f.data, "--visits", f.visits.URL, "--visits-ca", f.path("visits-ca.pem"),
		"--trust-list", f.path("trust.list"), "--trust-root", root, "--json",
	}
	for name, p := range f.issuers {
		ca := p.ca()
		if p.sent != nil {
			ca += ".recorder"
		}
		args = append(args, "--issuer-ca", name+"="+ca)
	}
	r := kipassInquiry(t, append(args, file)...)
	var s inquiry.Summary
	if r.Out != "" {
		testkit.Check(t, json.Unmarshal([]byte(r.Out), &s))
	}
	return r, s
}
