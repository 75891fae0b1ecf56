package issuer

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
)

func TestOrdersThatOpenNothing(t *testing.T) {
	f := newFixture(t)
	c := visit.CTI(f.code(t, f.register(t, testName)).CTI())
	stranger := officerKey(9)
	signedBy := func(key ed25519.PrivateKey, change func(*order.Order)) []byte {
		o := f.order()
		if change != nil {
			change(&o)
		}
		return f.signed(t, key, o)
	}
	approve := func(key ed25519.PrivateKey, signed []byte) []byte {
		return testkit.Must(order.ForIssuer(testkit.Must(order.Approve(key, signed))(t)))(t)
	}
	good := approve(f.lee, signedBy(f.kim, nil))
	flip := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 1
		return b
	}
	tests := map[string]struct {
		question []byte
		want     error
	}{
		"no order, just bytes":         {question(t, []byte("please"), c), order.ErrMalformed},
		"not approved":                 {question(t, signedBy(f.kim, nil), c), order.ErrMalformed},
		"signed by a stranger":         {question(t, approve(f.lee, signedBy(stranger, nil)), c), order.ErrRefused},
		"approved by a stranger":       {question(t, approve(stranger, signedBy(f.kim, nil)), c), order.ErrRefused},
		"in another officer's name":    {question(t, approve(f.kim, signedBy(f.lee, nil)), c), order.ErrRefused},
		"changed after approval":       {question(t, flip(len(good)/2), c), order.ErrRefused},
		"approval's signature changed": {question(t, flip(len(good)-1), c), order.ErrRefused},
		"with its place":               {question(t, testkit.Must(order.Approve(f.lee, signedBy(f.kim, nil)))(t), c), order.ErrMalformed},
		"not a question":               {good, order.ErrMessage},
		"empty":                        {nil, order.ErrMessage},
		"expired": {question(t, approve(f.lee, signedBy(f.kim, func(o *order.Order) {
			o.IssuedAt, o.Expires = noon.Add(-2*time.Hour), noon.Add(-time.Second)
			o.To = o.IssuedAt
		})), c), order.ErrRefused},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			answer, err := f.Answer(tt.question)
			if !errors.Is(err, tt.want) || answer != nil {
				t.Errorf("Answer = %d bytes, %v, want %v", len(answer), err, tt.want)
			}
			if told := f.logged(t, auditlog.KindOpening, auditlog.KindRefused); len(told) != 0 {
				t.Errorf("logged is %+v", told)
			}
		})
	}
	testkit.Check(t, f.operator().AddOfficer(order.Officer{Name: "park", Public: stranger.Public().(ed25519.PublicKey)}))
	if _, err := f.Answer(question(t, good, c)); err != nil {
		t.Errorf("the good order: %v", err)
	}
}

func TestNamesGoToARecipientThatTheAuthorityCertifiedAndToNobodyElse(t *testing.T) {
	f := newFixture(t)
	c := visit.CTI(f.code(t, f.register(t, testName)).CTI())
	o := f.order()
	d := testkit.Must(order.NewDraft(o))(t)
	ask := func(root ed25519.PrivateKey, until time.Time) []byte {
		cert := testkit.Must(d.Certify(root, order.Certification{
			Authority: "질병관리본부", Recipient: f.authority.Recipient().String(), NotBefore: noon.Add(-time.Hour), NotAfter: until,
		}))(t)
		approved := testkit.Must(order.Approve(f.lee, testkit.Must(d.Sign(f.kim, cert))(t)))(t)
		return question(t, testkit.Must(order.ForIssuer(approved))(t), c)
	}
	for what, q := range map[string][]byte{
		"certified by an officer": ask(f.kim, noon.Add(time.Hour)), "certified in the past": ask(f.root, noon.Add(-time.Second)),
	} {
		before := len(f.logged(t, auditlog.KindRefused))
		if answer, err := f.Answer(q); !errors.Is(err, order.ErrRecipient) || answer != nil {
			t.Errorf("%s: %d bytes, %v", what, len(answer), err)
		}
		for range 10 {
			if _, err := f.Answer(q); !errors.Is(err, order.ErrRecipient) {
				t.Errorf("%s, again: %v", what, err)
			}
		}
		told := f.logged(t, auditlog.KindRefused)
		if len(told) != before+1 || told[before].Order != o.ID.String() || told[before].Approver != "lee" || told[before].Note != order.CodeRecipient {
			t.Errorf("%s: logged is %+v", what, told)
		}
	}
	good := ask(f.root, noon.Add(time.Hour))
	if a := f.answered(t, good); len(a.Holders) != 1 {
		t.Errorf("a good order opens %d codes", len(a.Holders))
	}
	testkit.Check(t, f.operator().SetAuthorityRoot(officerKey(9).Public().(ed25519.PublicKey)))
	if _, err := f.Answer(good); !errors.Is(err, order.ErrRecipient) {
		t.Errorf("under another root: %v", err)
	}
}

func TestEveryChangeOfWhoIsObeyedIsLoggedBeforeItHasAnEffect(t *testing.T) {
	f := newFixture(t)
	c := visit.CTI(f.code(t, f.register(t, testName)).CTI())
	good := question(t, f.approved(t, f.order()), c)
	told := func() string {
		var all []string
		for _, e := range f.logged(t, auditlog.KindRegister) {
			if e.Register == auditlog.RegisterKeys {
				continue
			}
			all = append(all, fmt.Sprintf("%s %s %v", e.Register, e.Name, e.Removed))
		}
		return strings.Join(all, ", ")
	}
	// The fixture made these by commands while no issuer ran.
	begun := "officers kim false, officers lee false, authority root false"
	if got := told(); len(got) != len(begun) {
		t.Errorf("logged is %s, want %s in some order", got, begun)
	}
	begun = told()
	// A running issuer logs what a command did before it goes by it.
	testkit.Check(t, f.operator().RemoveOfficer("lee"))
	if _, err := f.Answer(good); !errors.Is(err, order.ErrRefused) {
		t.Errorf("approved by an officer who was removed: %v", err)
	}
	if got, want := told(), begun+", officers lee true"; got != want {
		t.Errorf("logged is %s, want %s", got, want)
	}
	// So does one that is started after the register was edited by hand.
	f.close(t)
	testkit.Check(t, os.WriteFile(filepath.Join(f.dir, officersFile), []byte("park "+order.FormatPublicKey(f.lee.Public().(ed25519.PublicKey))), 0o600))
	f.reopen(t, durable.Disk{})
	if got, want := told(), begun+", officers lee true, officers kim true, officers park false"; got != want {
		t.Errorf("logged is %s, want %s", got, want)
	}
	if err := f.operator().RemoveOfficer("lee"); err == nil {
		t.Error("an officer who is not there was removed")
	}
}

func TestOnlyCodesIssuedAboutTheWindowAreOpened(t *testing.T) {
	f := newFixture(t)
	bearer := f.register(t, testName)
	from, to := noon.Add(-26*time.Hour), noon.Add(-2*time.Hour)
	early, late := from.Add(-token.Lifetime-scanTolerance), to.Add(scanTolerance)
	tests := map[string]struct {
		issued time.Time
		opened bool
	}{
		"as the window begins":                  {from, true},
		"within it, the day before":             {noon.Add(-24 * time.Hour), true},
		"as it ends":                            {to, true},
		"read late by the widest of clocks":     {early, true},
		"before that":                           {early.Add(-time.Second), false},
		"read early by the widest of clocks":    {late, true},
		"after that":                            {late.Add(time.Second), false},
		"on a day the window does not touch":    {noon.Add(-72 * time.Hour), false},
		"on that day, at an hour of the window": {noon.Add(-51 * time.Hour), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f.clock.Set(tt.issued)
			c := visit.CTI(f.code(t, bearer).CTI())
			f.clock.Set(noon)
			o := f.order()
			o.From, o.To = from.UTC(), to.UTC()
			a := f.answered(t, question(t, f.approved(t, o), c))
			if opened := len(a.Holders) == 1; opened != tt.opened || len(a.Holders)+len(a.Unopened) != 1 {
				t.Fatalf("%d opened, %d unopened, want opened = %v", len(a.Holders), len(a.Unopened), tt.opened)
			}
			if tt.opened && !a.Holders[0].IssuedAt.Equal(tt.issued) {
				t.Errorf("issued at %v, want %v", a.Holders[0].IssuedAt, tt.issued)
			}
		})
	}
}

// A code is opened for as long as the visit server keeps a visit of it, and no longer, on whatever side of midnight it was
// issued and read.
func TestACodeIsOpenedAsLongAsAnyVisitOfIt(t *testing.T) {
	f := newFixture(t)
	midnight := day.Of(noon.AddDate(0, 0, 1)).Start()
	f.clock.Set(midnight.Add(-2 * time.Minute))
	bearer := f.register(t, testName)
	type reading struct {
		code visit.CTI
		at   time.Time
	}
	var all []reading
	for _, since := range []int{-80, -46, -45, -44, -30, -16, -15, -14, -5, -1, 0, 1, 30} {
		iat := midnight.Add(time.Duration(since) * time.Second)
		f.clock.Set(iat)
		code := visit.CTI(f.code(t, bearer).CTI())
		for _, after := range []time.Duration{-day.MaxSkew, 0, 10 * time.Second, day.CodeLifetime, day.CodeLifetime + day.MaxSkew} {
			all = append(all, reading{code, iat.Add(after)})
		}
	}
	last := day.Of(midnight)
	for _, now := range []time.Time{
		(last - 1).DestroyAt().Add(-time.Nanosecond), (last - 1).DestroyAt(), last.DestroyAt().Add(-time.Nanosecond), last.DestroyAt(),
	} {
		f.clock.Set(now)
		testkit.Check(t, f.Destroy())
		for _, r := range all {
			o := f.order()
			o.From, o.To = r.at.Add(-time.Second).UTC(), r.at.UTC()
			kept := day.Of(r.at) >= day.OldestKept(now)
			if a := f.answered(t, question(t, f.approved(t, o), r.code)); (len(a.Holders) == 1) != kept {
				t.Errorf("at %v a code read at %v opens: %v, want %v", now, r.at, !kept, kept)
			}
		}
	}
	f.gone(t, last, 11)
}

func TestCodesThatWereNeverGivenOutAreNotOpened(t *testing.T) {
	f := newFixture(t)
	bearer := f.register(t, testName)
	c := f.code(t, bearer)
	k := testkit.Must(f.keys.Key(day.Of(noon)))(t)
	h, _, err := f.accounts.get(bearer)
	if err != nil {
		t.Fatal(err)
	}
	flipped := visit.CTI(c.CTI())
	flipped[43] ^= 1
	a := f.opened(t,
		visit.CTI(c.CTI()),
		visit.CTI{1, 2, 3},
		flipped,
		visit.CTI(sealRef(k.cti, "naver", h.ref())), // genuine, but not in the issue log
		visit.CTI(sealRef(k.cti, "pass", h.ref())),  // another issuer's name
	)
	if len(a.Holders) != 1 || a.Holders[0].CTI != visit.CTI(c.CTI()) || len(a.Unopened) != 4 {
		t.Errorf("%d opened, %d unopened, want 1 and 4", len(a.Holders), len(a.Unopened))
	}
}

func TestEveryOpeningIsLoggedWithoutPersonOrPlace(t *testing.T) {
	f := newFixture(t)
	c := f.code(t, f.register(t, testName))
	a := f.opened(t, visit.CTI(c.CTI()), visit.CTI{9})
	entries, checkpoint, err := f.Audit().Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	key := testkit.Must(AuditKey(f.dir, ""))(t)
	r, err := auditlog.Check(entries, checkpoint, key)
	if err != nil || a.Entry != r.Size-1 {
		t.Fatalf("log holds %d entries, the answer names %d, %v", r.Size, a.Entry, err)
	}
	e := r.Entries[a.Entry]
	if e.Kind != auditlog.KindOpening || e.Order != a.Order.String() || e.Case != "2020-17" || e.Officer != "kim" || e.Approver != "lee" || e.Count != 1 || e.Refused != 1 {
		t.Errorf("entry = %+v", e)
	}
	for _, secret := range []string{testName, testE164, "hongdae-12", "접촉자"} {
		if bytes.Contains(entries, []byte(secret)) {
			t.Error("the audit log names a person or the place")
		}
	}
}
