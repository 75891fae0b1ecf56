package issuer

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

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
		return testkit.Must(order.Sign(key, o))(t)
	}
	approve := func(key ed25519.PrivateKey, signed []byte) []byte {
		return testkit.Must(order.WithoutPlace(testkit.Must(order.Approve(key, signed))(t)))(t)
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
			if n := f.Audit().Size(); n != 0 {
				t.Errorf("%d openings are logged", n)
			}
		})
	}
	testkit.Check(t, AddOfficer(f.dir, order.Officer{Name: "park", Public: stranger.Public().(ed25519.PublicKey)}))
	if _, err := f.Answer(question(t, good, c)); err != nil {
		t.Errorf("the good order: %v", err)
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
	if err != nil || r.Size != 1 || a.Entry != 0 {
		t.Fatalf("log holds %d entries, the answer names %d, %v", r.Size, a.Entry, err)
	}
	e := r.Entries[0]
	if e.Kind != auditlog.KindOpening || e.Order != a.Order.String() || e.Case != "2020-17" || e.Officer != "kim" || e.Approver != "lee" || e.Count != 1 || e.Refused != 1 {
		t.Errorf("entry = %+v", e)
	}
	for _, secret := range []string{testName, testE164, "hongdae-12"} {
		if bytes.Contains(entries, []byte(secret)) {
			t.Error("the audit log names a person or the place")
		}
	}
}
