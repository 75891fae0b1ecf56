package visitserver

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
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
	root     ed25519.PrivateKey // certifies the identity as recipient
	identity *age.X25519Identity
}

func newInvestigators(fx *fixture) *investigators {
	a := &investigators{}
	var err error
	if a.identity, err = age.GenerateX25519Identity(); err != nil {
		fx.t.Fatal(err)
	}
	a.root = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize))
	fx.admin(nil, "authority-root", order.FormatRoot(a.root.Public().(ed25519.PublicKey)))
	for name, key := range map[string]*ed25519.PrivateKey{"lee": &a.lee, "kim": &a.kim} {
		pub, private := generated(fx.t)
		*key = private
		fx.admin(nil, "officer add", name, order.FormatPublicKey(pub))
	}
	return a
}

func generated(t testing.TB) (ed25519.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	testkit.Check(t, err)
	return pub, private
}

func (a *investigators) order(fx *fixture, f visit.Facility, from, to time.Time) order.Order {
	now := fx.clock.Now().Truncate(time.Second)
	return order.Order{
		ID: order.NewID(), Case: "2020-0042", Officer: "lee", Purpose: "contacts of a confirmed case", Facility: f, From: from, To: to,
		IssuedAt: now, Expires: now.Add(time.Hour),
	}
}

func (a *investigators) signed(t *testing.T, o order.Order) []byte {
	t.Helper()
	d := testkit.Must(order.NewDraft(o))(t)
	return testkit.Must(d.Sign(a.lee, a.certified(t, d)))(t)
}

func (a *investigators) certified(t *testing.T, d order.Draft) order.Certificate {
	t.Helper()
	return testkit.Must(d.Certify(a.root, order.Certification{
		Authority: "질병관리본부", Recipient: a.identity.Recipient().String(), Entry: 3,
	}))(t)
}

func (a *investigators) approved(t *testing.T, o order.Order) []byte {
	t.Helper()
	raw, err := order.Approve(a.kim, a.signed(t, o))
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
		{At: visits[1].At.UTC(), Facility: "cafe", Gate: "west", Issuer: "naver", CTI: visits[1].CTI, Clock: visit.ClockSynced, Skew: 2 * time.Second, Flags: order.Late},
		{At: visits[2].At.UTC(), Facility: "cafe", Gate: "east", Issuer: "pass", CTI: visits[2].CTI, Clock: visit.ClockSynced, Skew: 2 * time.Second, Flags: order.Late},
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
	signed := a.signed(t, o)
	forged := bytes.Clone(good)
	forged[len(forged)-1] ^= 1
	strangers := *a
	_, strangers.kim = generated(t)
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
	if told := entriesOf(t, fx, auditlog.KindInquiry, auditlog.KindRefused); len(told) != 0 {
		t.Errorf("audit log tells of %+v, want nothing: nothing left", told)
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

// entriesOf are the audit log's entries of some kinds.
func entriesOf(t *testing.T, fx *fixture, kinds ...string) (all []auditlog.Entry) {
	t.Helper()
	for _, e := range auditEntries(t, fx.folder) {
		if slices.Contains(kinds, e.Kind) {
			all = append(all, e)
		}
	}
	return all
}

func TestVisitsGoToARecipientThatTheAuthorityCertifiedAndToNobodyElse(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	a := newInvestigators(fx)
	g := fx.gate("cafe", "door")
	g.journalled(newVisit(noon.Add(-time.Hour)))
	g.deliver()
	o := a.order(fx, "cafe", noon.Add(-2*time.Hour), noon)
	o.Purpose = marker
	foreign, expired := *a, order.Certification{}
	_, foreign.root = generated(t)
	expired.NotBefore, expired.NotAfter = noon.Add(-2*time.Hour), noon.Add(-time.Second)
	expired.Authority, expired.Recipient = "질병관리본부", a.identity.Recipient().String()
	d := testkit.Must(order.NewDraft(o))(t)
	past := testkit.Must(d.Sign(a.lee, testkit.Must(d.Certify(a.root, expired))(t)))(t)
	for what, raw := range map[string][]byte{
		"certified by nobody known": foreign.approved(t, o), "certified in the past": testkit.Must(order.Approve(a.kim, past))(t),
	} {
		before := len(entriesOf(t, fx, auditlog.KindRefused))
		if answer, got := inquire(t, fx, a, raw); got != order.CodeRecipient || len(answer.Scans) > 0 {
			t.Errorf("%s: %q, %d scans", what, got, len(answer.Scans))
		}
		for range 10 {
			if _, got := inquire(t, fx, a, raw); got != order.CodeRecipient {
				t.Errorf("%s, again: %q", what, got)
			}
		}
		told := entriesOf(t, fx, auditlog.KindRefused)
		if len(told) != before+1 || told[before].Order != o.ID.String() || told[before].Officer != "lee" || told[before].Approver != "kim" ||
			len(told[before].Digest) != 64 || told[before].Note != order.CodeRecipient {
			t.Errorf("%s: the audit log tells of %+v", what, told)
		}
	}
	if !strings.Contains(fx.log.String(), "the authority's root set here is") {
		t.Error("the operator's log does not say why")
	}
	good := a.approved(t, o)
	answer, refused := inquire(t, fx, a, good)
	if refused != "" || len(answer.Scans) != 1 {
		t.Errorf("a good order: %q, %d scans", refused, len(answer.Scans))
	}
	// The authority has another root now: what the old one certified ends.
	pub, _ := generated(t)
	fx.admin(nil, "authority-root", order.FormatRoot(pub))
	if _, got := inquire(t, fx, a, good); got != order.CodeRecipient {
		t.Errorf("under another root: %q", got)
	}
	noMarker(t, fx)
}

// marker is a purpose that nothing but the order may hold.
const marker = "서울 카페 방문자 MARKER"

// noMarker checks that neither the public log nor the operator's holds the purpose of an order.
func noMarker(t *testing.T, fx *fixture) {
	t.Helper()
	for _, name := range []string{auditlog.EntriesFile, auditlog.CheckpointFile} {
		if bytes.Contains(testkit.Must(os.ReadFile(filepath.Join(fx.folder.Audit(), name)))(t), []byte("MARKER")) {
			t.Errorf("%s of the audit log holds the purpose", name)
		}
	}
	if strings.Contains(fx.log.String(), "MARKER") {
		t.Error("the operator's log holds the purpose")
	}
}

func TestEveryChangeOfWhoIsObeyedIsLogged(t *testing.T) {
	fx := newFixture(t)
	pub, _ := generated(t)
	root, _ := generated(t)
	for _, step := range []struct {
		command string
		args    []string
		want    string
	}{
		{"officer add", []string{"kim", order.FormatPublicKey(pub)}, "officers kim false"},
		{"authority-root", []string{order.FormatRoot(root)}, "authority root false"},
		{"officer remove", []string{"kim"}, "officers kim true"},
		{"authority-root", []string{order.FormatRoot(pub)}, "authority root true, authority root false"},
		{"officer add", []string{"kim", order.FormatPublicKey(pub)}, "officers kim false"},
	} {
		before := len(auditEntries(t, fx.folder))
		fx.admin(nil, step.command, step.args...)
		var got []string
		for _, e := range auditEntries(t, fx.folder)[before:] {
			got = append(got, fmt.Sprintf("%s %s %v", e.Register, e.Name, e.Removed))
			if len(e.Key) != 16 {
				t.Errorf("%s: key %q", step.command, e.Key)
			}
		}
		if strings.Join(got, ", ") != step.want {
			t.Errorf("%s: logged %v, want %s", step.command, got, step.want)
		}
	}
	before := len(auditEntries(t, fx.folder))
	fx.restart()
	if n := len(auditEntries(t, fx.folder)); n != before {
		t.Errorf("a restart logs %d changes", n-before)
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
	direct := newDirectFixture(t, newMemoryStore())
	for what, key := range testkit.BadKeys(t) {
		for register, set := range map[string]func() error{
			"officers":         func() error { return direct.AddOfficer(t.Context(), order.Officer{Name: "choi", Public: key}) },
			"trust list":       func() error { return direct.SetTrustRoot(t.Context(), key) },
			"health authority": func() error { return direct.SetAuthorityRoot(t.Context(), key) },
		} {
			if err := set(); err == nil {
				t.Errorf("%s: taken by the register of the %s", what, register)
			}
		}
		for _, req := range []AdminRequest{
			{Command: "officer add", Args: []string{"choi", "kipass-officer:" + base64.RawURLEncoding.EncodeToString(key)}},
			{Command: "trust-root", Args: []string{hex.EncodeToString(key)}},
			{Command: "authority-root", Args: []string{"kipass-authority:" + base64.RawURLEncoding.EncodeToString(key)}},
		} {
			if err := fx.tryAdmin(nil, req); err == nil || !strings.Contains(err.Error(), "public key") {
				t.Errorf("%s: %s: %v", what, req.Command, err)
			}
		}
	}
}
