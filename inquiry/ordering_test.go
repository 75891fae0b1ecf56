package inquiry

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/order"
)

// told returns what the authority's log on the disk tells, an entry a word.
func (f *fixture) told(t *testing.T) []string {
	t.Helper()
	key := testkit.Must(AuditKey(f.dir))(t)
	var all []string
	for _, e := range testkit.Must(auditlog.VerifyDir(filepath.Join(f.dir, auditDir), key))(t).Entries {
		all = append(all, strings.TrimRight(fmt.Sprint(e.Kind, ":", e.Name, e.Officer, "+", e.Approver), "+:"))
	}
	return all
}

func TestTheAuthoritysLogHasTheOrderBeforeAnythingArrives(t *testing.T) {
	f := newFixture(t)
	var atVisits, atIssuer []string
	visits := f.visitsParty(t, func(*order.VisitAnswer) { atVisits = f.told(t) }, numbered(1))
	issuer := f.issuerParty(t, func(*order.IssuerAnswer) { atIssuer = f.told(t) })
	testkit.Must(f.Run(t.Context(), f.approved, config(visits, issuer)))(t)
	want := "order:kim order:kim+lee asked:kim+lee"
	for who, told := range map[string][]string{"visit server": atVisits, "issuer": atIssuer} {
		if got := strings.Join(told, " "); !strings.HasSuffix(got, want) {
			t.Errorf("when the %s is asked the log tells of %s, want it to end with %s", who, got, want)
		}
	}
}

// craft makes an order as an officer could without the authority's folder: by key, for a recipient certified by root.
func (f *fixture) craft(t *testing.T, root ed25519.PrivateKey, entry uint64) []byte {
	t.Helper()
	o := f.order
	o.ID = order.NewID()
	d := testkit.Must(order.NewDraft(o))(t)
	c := testkit.Must(d.Certify(root, order.Certification{
		Authority: DefaultName, Recipient: f.master.Recipient().String(), Entry: entry,
	}))(t)
	return testkit.Must(d.Sign(officerKey(1), c))(t)
}

func TestAnOrderThatTheAuthorityDidNotCertifyIsNeitherApprovedNorCarriedOut(t *testing.T) {
	f := newFixture(t)
	for what, c := range map[string]struct {
		signed  []byte
		says    string
		refused int // entries that the log gets for each attempt
	}{
		"certified by the officer":         {f.craft(t, officerKey(1), 0), "the authority's root set here is", 1},
		"certified, and not logged":        {f.craft(t, f.root, f.order.Recipient.Entry), "does not tell of it", 0},
		"certified under an entry to come": {f.craft(t, f.root, 1<<40), "does not tell of it", 0},
	} {
		t.Run(what, func(t *testing.T) {
			approved := testkit.Must(order.Approve(officerKey(2), c.signed))(t)
			for how, do := range map[string]func() error{
				"read":    func() error { _, err := f.Read(c.signed); return err },
				"approve": func() error { _, err := f.Approve(officerKey(2), c.signed); return err },
				"run":     func() error { _, err := f.Run(t.Context(), approved, Config{}); return err },
			} {
				before := strings.Count(strings.Join(f.told(t), " "), auditlog.KindRefused)
				err := do()
				if !errors.Is(err, order.ErrRefused) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%s: %v, want one that says %q", how, err, c.says)
				}
				if n := strings.Count(strings.Join(f.told(t), " "), auditlog.KindRefused) - before; n != c.refused {
					t.Errorf("%s: %d refusals logged, want %d", how, n, c.refused)
				}
			}
		})
	}
}

func TestAnOrderIsCertifiedForItselfAndItsLifetime(t *testing.T) {
	f := newFixture(t)
	c := f.order.Recipient
	identity := testkit.Must(f.identity(f.order.ID))(t)
	if c.Recipient != identity.Recipient().String() || c.Authority != DefaultName || c.Digest != f.order.Digest ||
		!c.NotBefore.Equal(f.order.IssuedAt) || !c.NotAfter.Equal(f.order.Expires) {
		t.Errorf("certificate = %+v", c)
	}
	entries, _, err := f.audit.Snapshot()
	testkit.Check(t, err)
	e := testkit.Must(auditlog.ParseEntry(auditlog.Leaves(entries)[c.Entry]))(t)
	if e.Kind != auditlog.KindOrder || e.Order != f.order.ID.String() || e.Digest != hex.EncodeToString(f.order.Digest[:]) {
		t.Errorf("entry %d = %+v", c.Entry, e)
	}
	if bytes.Contains(entries, []byte(f.order.Purpose)) {
		t.Error("the public log holds the purpose")
	}
}

func TestEveryChangeOfTheAuthoritysRegisterIsLogged(t *testing.T) {
	f := newFixture(t)
	changes := func() string {
		var all []string
		for _, e := range f.told(t) {
			if name, ok := strings.CutPrefix(e, "register:"); ok {
				all = append(all, name)
			}
		}
		return strings.Join(all, " ")
	}
	begun := changes()
	if len(begun) != len("root kim lee") || !strings.HasPrefix(begun, "root ") {
		t.Fatalf("logged are %s", begun)
	}
	testkit.Check(t, f.RemoveOfficer("lee"))
	if got := changes(); got != begun+" lee" {
		t.Errorf("after a removal: %s", got)
	}
	if err := f.RemoveOfficer("lee"); err == nil {
		t.Error("an officer is removed twice")
	}
	if _, err := f.Run(t.Context(), f.approved, Config{}); !errors.Is(err, order.ErrRefused) {
		t.Errorf("approved by an officer who was removed: %v", err)
	}
	// Edited by hand while the folder is closed.
	testkit.Check(t, f.Close())
	testkit.Check(t, os.WriteFile(filepath.Join(f.dir, officersFile), nil, 0o600))
	f.Authority = testkit.Must(Open(f.dir, func() time.Time { return now }))(t)
	if got := changes(); got != begun+" lee kim" {
		t.Errorf("after an edit: %s", got)
	}
	for what, key := range testkit.BadKeys(t) {
		if err := f.AddOfficer(order.Officer{Name: "choi", Public: key}); err == nil {
			t.Errorf("%s: it is registered", what)
		}
	}
}
