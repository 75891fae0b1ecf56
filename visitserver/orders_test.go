package visitserver

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/visit"
)

// investigators are the health authority's side: two officers and the key answers are encrypted to.
type investigators struct {
	lee, kim ed25519.PrivateKey
	identity *age.X25519Identity
}

func newInvestigators(fx *fixture) *investigators {
	a := &investigators{}
	var err error
	if a.identity, err = age.GenerateX25519Identity(); err != nil {
		fx.t.Fatal(err)
	}
	for name, key := range map[string]*ed25519.PrivateKey{"lee": &a.lee, "kim": &a.kim} {
		pub, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			fx.t.Fatal(err)
		}
		*key = private
		fx.admin(nil, "officer add", name, order.FormatPublicKey(pub))
	}
	return a
}

func (a *investigators) order(fx *fixture, f visit.Facility, from, to time.Time) order.Order {
	now := fx.clock.Now().Truncate(time.Second)
	return order.Order{
		ID: order.NewID(), Case: "2020-0042", Officer: "lee", Purpose: "contacts of a confirmed case", Facility: f, From: from, To: to,
		Recipient: a.identity.Recipient().String(), IssuedAt: now, Expires: now.Add(time.Hour),
	}
}

func (a *investigators) approved(t *testing.T, o order.Order) []byte {
	t.Helper()
	signed, err := order.Sign(a.lee, o)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := order.Approve(a.kim, signed)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// inquire sends an order and returns the opened answer, or the code of the refusal.
func inquire(t *testing.T, fx *fixture, a *investigators, raw []byte) (order.VisitAnswer, string) {
	t.Helper()
	status, contentType, body, err := fx.post(fx.client(nil), order.PathOrders, order.TypeOrder, raw)
	if err != nil {
		t.Fatal(err)
	}
	if status != http.StatusOK {
		p, err := order.DecodeProblem(body)
		if err != nil || contentType != order.TypeProblem {
			t.Fatalf("status %d with %q: %v", status, contentType, err)
		}
		return order.VisitAnswer{}, p.Code
	}
	answer, err := order.OpenVisitAnswer(body, a.identity)
	if err != nil {
		t.Fatal(err)
	}
	return answer, ""
}

func TestAnOrderIsAnsweredWithItsWindowAndLogged(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	fx.facility("club")
	a := newInvestigators(fx)
	east, west, club := fx.gate("cafe", "east"), fx.gate("cafe", "west"), fx.gate("club", "door")
	midnight := day.Of(noon).Start()
	visits := []visit.Visit{
		newVisit(midnight.Add(-time.Hour)), newVisit(midnight.Add(-time.Millisecond)), newVisit(midnight), newVisit(noon.Add(-time.Minute)), newVisit(noon),
	}
	visits[2].Issuer = "pass"
	east.journalled(visits[0], visits[2], visits[4])
	west.journalled(visits[1], visits[3])
	club.journalled(newVisit(noon.Add(-time.Minute)))
	for _, g := range []*gate{east, west, club} {
		g.deliver()
	}
	o := a.order(fx, "cafe", midnight.Add(-time.Second), noon)
	answer, refused := inquire(t, fx, a, a.approved(t, o))
	if refused != "" {
		t.Fatalf("refused: %s", refused)
	}
	want := []order.Scan{
		{At: visits[1].At.UTC(), Facility: "cafe", Gate: "west", Issuer: "naver", CTI: visits[1].CTI, Clock: visit.ClockSynced, Skew: 2 * time.Second},
		{At: visits[2].At.UTC(), Facility: "cafe", Gate: "east", Issuer: "pass", CTI: visits[2].CTI, Clock: visit.ClockSynced, Skew: 2 * time.Second},
		{At: visits[3].At.UTC(), Facility: "cafe", Gate: "west", Issuer: "naver", CTI: visits[3].CTI, Clock: visit.ClockSynced, Skew: 2 * time.Second},
	}
	if len(answer.Scans) != len(want) || answer.Order != o.ID {
		t.Fatalf("answer of %d scans to order %v, want %d to %v", len(answer.Scans), answer.Order, len(want), o.ID)
	}
	for i := range want {
		if answer.Scans[i] != want[i] {
			t.Errorf("scan %d is not the one expected", i)
		}
	}
	entries := auditEntries(t, fx.folder)
	e := entries[answer.Entry]
	if e.Kind != auditlog.KindInquiry || e.Order != o.ID.String() || e.Officer != "lee" || e.Approver != "kim" ||
		e.Case != o.Case || e.Facility != "cafe" || e.Count != 3 || !e.From.Equal(o.From) || !e.To.Equal(o.To) {
		t.Errorf("audit log says %+v", e)
	}
}

func TestOrdersThatDoNotHoldGetNothing(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	a := newInvestigators(fx)
	g := fx.gate("cafe", "door")
	g.journalled(newVisit(noon.Add(-time.Hour)))
	g.deliver()
	o := a.order(fx, "cafe", noon.Add(-2*time.Hour), noon)
	good := a.approved(t, o)
	signed, err := order.Sign(a.lee, o)
	if err != nil {
		t.Fatal(err)
	}
	forged := bytes.Clone(good)
	forged[len(forged)-1] ^= 1
	strangers := *a
	if _, strangers.kim, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	for rule, c := range map[string]struct {
		raw  []byte
		want string
	}{
		"not approved":           {signed, "bad-order"},
		"forged":                 {forged, "order-refused"},
		"approved by a stranger": {strangers.approved(t, o), "order-refused"},
		"garbage":                {[]byte("order"), "bad-order"},
		"empty":                  {nil, "bad-order"},
		"too large":              {make([]byte, order.MaxOrder+1), "too-large"},
		"of an unknown facility": {a.approved(t, a.order(fx, "nowhere", noon.Add(-time.Hour), noon)), "order-refused"},
	} {
		if answer, got := inquire(t, fx, a, c.raw); got != c.want || len(answer.Scans) > 0 {
			t.Errorf("%s: %q, want %q", rule, got, c.want)
		}
	}
	if n := len(auditEntries(t, fx.folder)); n != 0 {
		t.Errorf("%d entries in the audit log, want none: nothing left", n)
	}
	if _, got := inquire(t, fx, a, good); got != "" {
		t.Errorf("the good order was refused: %s", got)
	}
	fx.admin(nil, "officer remove", "kim")
	if _, got := inquire(t, fx, a, good); got != "order-refused" {
		t.Errorf("approved by an officer removed since: %q", got)
	}
	fx.clock.Add(2 * time.Hour)
	if _, got := inquire(t, fx, a, good); got != "order-refused" {
		t.Errorf("expired: %q", got)
	}
}

func TestNothingOfADayWhoseWeeksAreOverLeavesEvenBeforeItIsDestroyed(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	a := newInvestigators(fx)
	g := fx.gate("cafe", "door")
	day := day.Of(noon)
	g.journalled(newVisit(noon), newVisit((day + 1).Start()))
	fx.clock.Add(24 * time.Hour)
	g.deliver()
	for _, c := range []struct {
		rule string
		at   time.Time
		want int
	}{{"a second before", day.DestroyAt().Add(-time.Second), 2}, {"at the end", day.DestroyAt(), 1}} {
		fx.clock.Set(c.at)
		answer, refused := inquire(t, fx, a, a.approved(t, a.order(fx, "cafe", day.Start(), (day+2).Start())))
		if refused != "" || len(answer.Scans) != c.want {
			t.Errorf("%s: %d scans, refused %q; want %d", c.rule, len(answer.Scans), refused, c.want)
		}
	}
}

func TestNoRegisterTakesAKeyThatNobodyOwns(t *testing.T) {
	fx := newFixture(t)
	for what, key := range testkit.BadKeys(t) {
		for _, req := range []AdminRequest{
			{Command: "officer add", Args: []string{"choi", "kipass-officer:" + base64.RawURLEncoding.EncodeToString(key)}},
			{Command: "trust-root", Args: []string{hex.EncodeToString(key)}},
		} {
			if err := fx.tryAdmin(nil, req); err == nil || !strings.Contains(err.Error(), "public key") {
				t.Errorf("%s: %s: %v", what, req.Command, err)
			}
		}
	}
}
