package issuer

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/text/unicode/norm"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/person"
	"github.com/kipass/kipass/protocol/visit"
)

func TestConsentIsRequiredBeforeAnything(t *testing.T) {
	f := newFixture(t)
	if _, err := f.Register(t.Context(), RegisterRequest{Name: testName, Phone: testPhone}); !errors.Is(err, ErrConsent) {
		t.Errorf("Register without consent = %v", err)
	}
	if days, err := f.remaining(); err != nil || len(days) != 0 {
		t.Errorf("a refused registration left %v behind, %v", days, err)
	}
}

// An identity is in the form of package person, whose tests hold all spellings.
func TestIdentities(t *testing.T) {
	got, err := NewIdentity(norm.NFD.String(" 김철수 "), "+82 010-1234-5678")
	if want := (Identity{"김철수", "+821012345678"}); got != want || err != nil {
		t.Errorf("NewIdentity = %q %q, %v", got.Name, got.Phone, err)
	}
	for want, in := range map[error][2]string{person.ErrName: {"a\x00b", "010-1234-5678"}, person.ErrPhone: {"a", "010-1234-567"}} {
		if got, err := NewIdentity(in[0], in[1]); !errors.Is(err, want) || got != (Identity{}) {
			t.Errorf("NewIdentity = %q %q, %v, want %v", got.Name, got.Phone, err, want)
		}
	}
}

func TestCodesOfOneHolderDifferInEverythingButIssuer(t *testing.T) {
	f := newFixture(t)
	bearer := f.register(t, testName)
	seen := map[string]bool{}
	for range 50 {
		c := f.code(t, bearer)
		if c.Issuer() != "naver" || !c.IssuedAt().Equal(noon) {
			t.Fatalf("code = %v", c)
		}
		cti := c.CTI()
		for _, part := range [][]byte{cti[:12], cti[12:28], cti[28:]} {
			if seen[string(part)] {
				t.Fatal("two codes of one holder share a part")
			}
			seen[string(part)] = true
		}
	}
}

func TestUnknownBearerGetsNoCode(t *testing.T) {
	f := newFixture(t)
	f.register(t, testName)
	for _, bearer := range []string{"", "x", newBearer()} {
		if _, err := f.Issue(bearer); !errors.Is(err, ErrUnknown) {
			t.Errorf("Issue = %v, want ErrUnknown", err)
		}
	}
}

func TestWhoeverHasATokenVouchesForThePhone(t *testing.T) {
	f := newFixture(t)
	desk, booth := testkit.Must(f.operator().AddToken("desk-1"))(t), testkit.Must(f.operator().AddToken("booth"))(t)
	r := tokenRegistrar{f.registers}
	admits := func(what string, proofs map[string]bool) {
		t.Helper()
		for proof, want := range proofs {
			if err := r.Admit(t.Context(), Identity{}, proof); (err == nil) != want || err != nil && !errors.Is(err, ErrIdentity) {
				t.Errorf("%s: a token of %d characters: %v, want admitted %v", what, len(proof), err, want)
			}
		}
	}
	admits("two tokens", map[string]bool{desk: true, booth: true, "": false, desk[1:]: false, desk + "t": false})
	for _, name := range []string{"desk-1", "", "Desk 2", "카페", strings.Repeat("a", maxTokenName+1)} {
		if _, err := f.operator().AddToken(name); err == nil {
			t.Errorf("a token is called %q", name)
		}
	}
	testkit.Check(t, f.operator().RevokeToken("desk-1"))
	admits("one revoked", map[string]bool{desk: false, booth: true})
	if err := f.operator().RevokeToken("desk-1"); err == nil {
		t.Error("a token is revoked twice")
	}
	testkit.Check(t, f.operator().RevokeToken("booth"))
	admits("none left", map[string]bool{booth: false, "": false})
	// Somebody who registers makes the log tell of what was changed meanwhile: nothing, in the end.
	again := testkit.Must(f.operator().AddToken("desk-1"))(t)
	testkit.Must(f.Register(t.Context(), RegisterRequest{Name: testName, Phone: testPhone, Consent: true, Proof: again}))(t)
	var told []string
	for _, e := range f.logged(t, auditlog.KindRegister) {
		if e.Register == auditlog.RegisterTokens {
			told = append(told, fmt.Sprint(e.Name, " ", e.Removed, " ", len(e.Key)))
		}
	}
	if got := strings.Join(told, ", "); got != "desk-1 false 16" {
		t.Errorf("logged are %s", got)
	}
	entries := testkit.Must(os.ReadFile(filepath.Join(f.dir, "audit", auditlog.EntriesFile)))(t)
	register := testkit.Must(os.ReadFile(f.registers.tokensPath()))(t)
	if bytes.Contains(entries, []byte(again)) || bytes.Contains(register, []byte(again)) {
		t.Error("a token is kept in the clear")
	}
	testkit.Check(t, os.WriteFile(f.registers.tokensPath(), []byte("desk-1 00"), 0o600))
	if err := r.Admit(t.Context(), Identity{}, again); err == nil || errors.Is(err, ErrIdentity) {
		t.Errorf("a damaged register: %v, want an error of the issuer's own", err)
	}
}

func TestRateOfOneHolder(t *testing.T) {
	c := testkit.NewClock(noon)
	p := newRateLimiter(4, c.Now)
	allowed := func() (n int) {
		for p.allow(ref{1}) {
			n++
		}
		return n
	}
	if n := allowed(); n != 4 {
		t.Errorf("%d codes at once, want 4", n)
	}
	if !p.allow(ref{2}) {
		t.Error("another holder is held up")
	}
	c.Set(noon.Add(15 * time.Second))
	if n := allowed(); n != 1 {
		t.Errorf("%d codes after 15 s, want 1", n)
	}
	c.Set(noon.Add(time.Hour))
	if n := allowed(); n != 4 {
		t.Errorf("%d codes after an hour, want 4", n)
	}
	c.Set(noon.Add(2 * time.Hour))
	p.allow(ref{3})
	if len(p.buckets) != 1 {
		t.Errorf("%d holders are remembered, want 1", len(p.buckets))
	}
	if unlimited := newRateLimiter(0, c.Now); !unlimited.allow(ref{1}) || len(unlimited.buckets) != 0 {
		t.Error("no limit limits")
	}
}

// A code that was given out can be opened from what is on disk at that moment, whatever becomes of the process.
func TestCodeIsOnDiskBeforeItIsGivenOut(t *testing.T) {
	f := newFixture(t)
	bearer := f.register(t, testName)
	c := f.code(t, bearer)
	copied := *f
	copied.Issuer = nil
	copied.dir = t.TempDir()
	testkit.Check(t, os.CopyFS(copied.dir, os.DirFS(f.dir)))
	secrets := SecretDir(copied.dir, "")
	testkit.Check(t, os.CopyFS(secrets, os.DirFS(SecretDir(f.dir, ""))))
	for _, e := range testkit.Must(os.ReadDir(secrets))(t) { // a copy is anybody's to read
		testkit.Check(t, os.Chmod(filepath.Join(secrets, e.Name()), 0o600))
	}
	copied.reopen(t, durable.Disk{})
	defer copied.close(t)
	if a := copied.opened(t, visit.CTI(c.CTI())); len(a.Holders) != 1 || a.Holders[0].Name != testName || a.Holders[0].Phone != testE164 {
		t.Errorf("%d holders opened from the copy", len(a.Holders))
	}
	copied.code(t, bearer)
}

func TestManyHoldersAtOnce(t *testing.T) {
	f := newFixture(t)
	var wg sync.WaitGroup
	texts := make([]string, 40)
	name := func(n int) string { return fmt.Sprint("holder ", n) }
	for n := range texts {
		wg.Go(func() {
			bearer, err := f.Register(t.Context(), RegisterRequest{Name: name(n), Phone: testPhone, Consent: true})
			if err != nil {
				t.Error(err)
				return
			}
			issued, err := f.Issue(bearer)
			if err != nil {
				t.Error(err)
			}
			texts[n] = issued.Text
		})
	}
	wg.Wait()
	var asked []visit.CTI
	want := map[visit.CTI]string{}
	for n, text := range texts {
		c := visit.CTI(f.read(t, text).CTI())
		asked = append(asked, c)
		want[c] = name(n)
	}
	a := f.opened(t, asked...)
	if len(a.Holders) != len(asked) {
		t.Fatalf("%d of %d codes opened", len(a.Holders), len(asked))
	}
	for _, h := range a.Holders {
		if h.Name != want[h.CTI] {
			t.Error("a code opens to somebody else")
		}
	}
}

func TestFolderIsMadeOnce(t *testing.T) {
	f := newFixture(t)
	before := testkit.Must(os.ReadFile(filepath.Join(SecretDir(f.dir, ""), masterFile)))(t)
	if err := Init(f.dir, "", About{Name: "pass", Hosts: []string{"h"}}, noon); err == nil {
		t.Error("Init over an issuer succeeded")
	}
	after, err := os.ReadFile(filepath.Join(SecretDir(f.dir, ""), masterFile))
	if err != nil || !bytes.Equal(before, after) {
		t.Error("Init touched the master key")
	}
	for _, bad := range []About{{Name: "", Hosts: []string{"h"}}, {Name: "NAVER", Hosts: []string{"h"}}, {Name: "naver"}} {
		if err := Init(t.TempDir(), "", bad, noon); err == nil {
			t.Errorf("Init takes %+v", bad)
		}
	}
}

// The data folder without the folder of secrets shows no name, no phone, no code, no reference.
func TestDataWithoutTheMasterKeyShowsNothing(t *testing.T) {
	f := newFixture(t)
	bearer := f.register(t, testName)
	var needles [][]byte
	h, _, err := f.accounts.get(bearer)
	if err != nil {
		t.Fatal(err)
	}
	needles = append(needles, []byte(testName), []byte(testE164), []byte(testE164[3:]), []byte("98765432"), h.Ref, []byte(bearer))
	for range 5 {
		cti := f.code(t, bearer).CTI()
		needles = append(needles, cti[:], cti[:12], cti[12:28])
	}
	f.close(t)
	read := 0
	err = filepath.WalkDir(f.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		read += len(b)
		for i, n := range needles {
			if bytes.Contains(b, n) {
				t.Errorf("%s shows secret %d in the clear", d.Name(), i)
			}
		}
		return nil
	})
	if err != nil || read < 1000 {
		t.Fatalf("read %d bytes, %v", read, err)
	}
	// Another master key does not help either.
	testkit.Check(t, os.WriteFile(filepath.Join(SecretDir(f.dir, ""), masterFile), bytes.Repeat([]byte{7}, daykey.KeySize), 0o600))
	if _, err := Open(f.dir, "", Options{Now: f.clock.Now, Logger: slog.New(slog.DiscardHandler)}); !errors.Is(err, daykey.ErrMaster) {
		t.Errorf("opened under another master key: %v", err)
	}
}
