package issuer

import (
	"bytes"
	"crypto/ed25519"
	"log/slog"
	"slices"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
)

// noon of 2020-07-01 in Seoul.
var noon = time.Date(2020, 7, 1, 12, 0, 0, 0, day.Seoul())

const (
	testName  = "김철수시험"
	testPhone = "010-9876-5432"
	testE164  = "+821098765432"
)

// fixture is an issuer with two officers in its register, and the authority they ask for.
type fixture struct {
	*Issuer
	dir       string
	clock     *testkit.Clock
	kim, lee  ed25519.PrivateKey
	root      ed25519.PrivateKey // certifies the authority as recipient
	authority *age.X25519Identity
}

func officerKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	return newFixtureIn(t, t.TempDir())
}

// newFixtureIn is newFixture in a folder that may be on a disk of its own.
func newFixtureIn(t testing.TB, dir string) *fixture {
	t.Helper()
	f := &fixture{dir: dir, clock: testkit.NewClock(noon), kim: officerKey(1), lee: officerKey(2), root: officerKey(8)}
	testkit.Check(t, Init(f.dir, "", About{Name: "naver", Display: "네이버", Hosts: []string{"127.0.0.1"}}, noon.AddDate(0, 0, -30)))
	for name, key := range map[string]ed25519.PrivateKey{"kim": f.kim, "lee": f.lee} {
		testkit.Check(t, f.operator().AddOfficer(order.Officer{Name: name, Public: key.Public().(ed25519.PublicKey)}))
	}
	testkit.Check(t, f.operator().SetAuthorityRoot(f.root.Public().(ed25519.PublicKey)))
	f.authority = testkit.Must(age.GenerateX25519Identity())(t)
	f.reopen(t, durable.Disk{})
	t.Cleanup(func() { f.close(t) })
	return f
}

// operator is who changes registers, by commands.
func (f *fixture) operator() Registers { return Registers{Dir: f.dir, Now: f.clock.Now} }

// close closes the issuer, if it is open.
func (f *fixture) close(t testing.TB) {
	t.Helper()
	if f.Issuer != nil {
		testkit.Check(t, f.Issuer.Close())
		f.Issuer = nil
	}
}

// logged are the audit log's entries of some kinds.
func (f *fixture) logged(t testing.TB, kinds ...string) (all []auditlog.Entry) {
	t.Helper()
	entries, _, err := f.Audit().Snapshot()
	testkit.Check(t, err)
	for _, leaf := range auditlog.Leaves(entries) {
		if e := testkit.Must(auditlog.ParseEntry(leaf))(t); slices.Contains(kinds, e.Kind) {
			all = append(all, e)
		}
	}
	return all
}

func (f *fixture) reopen(t testing.TB, disk durable.Disk) {
	t.Helper()
	f.close(t)
	f.Issuer = testkit.Must(open(f.dir, "", Options{
		Registrar: OpenRegistration{}, CodesPerMinute: 1000, Now: f.clock.Now, Logger: slog.New(slog.DiscardHandler),
	}, disk))(t)
}

func (f *fixture) register(t testing.TB, name string) string {
	t.Helper()
	return testkit.Must(f.Register(t.Context(), RegisterRequest{Name: name, Phone: testPhone, Consent: true}))(t)
}

// code gives out a code and reads it as a gate would.
func (f *fixture) code(t testing.TB, bearer string) token.Code {
	t.Helper()
	return f.read(t, testkit.Must(f.Issue(bearer))(t).Text)
}

// trustList is what gates know of the issuer.
type trustList map[token.KID]token.IssuerKey

func (l trustList) Key(kid token.KID) (token.IssuerKey, bool) {
	k, ok := l[kid]
	return k, ok
}

func (f *fixture) read(t testing.TB, text string) token.Code {
	t.Helper()
	u := testkit.Must(token.Parse([]byte(text)))(t)
	ring := trustList{}
	for _, k := range testkit.Must(Describe(f.dir, "", noon))(t).Keys {
		ring[token.KeyID(k.Public)] = k
	}
	return testkit.Must(u.Verify(ring))(t)
}

// order is a good one about the three days before the clock's time.
func (f *fixture) order() order.Order {
	now := f.clock.Now().UTC().Truncate(time.Second)
	return order.Order{
		ID: order.NewID(), Case: "2020-17", Officer: "kim", Purpose: "접촉자 조사", Facility: "hongdae-12",
		From: now.Add(-72 * time.Hour), To: now.Add(time.Minute),
		IssuedAt: now, Expires: now.Add(time.Hour),
	}
}

// signed is an order whose answers go to the authority, certified by f.root.
func (f *fixture) signed(t testing.TB, officer ed25519.PrivateKey, o order.Order) []byte {
	t.Helper()
	d := testkit.Must(order.NewDraft(o))(t)
	return testkit.Must(d.Sign(officer, f.certified(t, d)))(t)
}

func (f *fixture) certified(t testing.TB, d order.Draft) order.Certificate {
	t.Helper()
	return testkit.Must(d.Certify(f.root, order.Certification{
		Authority: "질병관리본부", Recipient: f.authority.Recipient().String(), Entry: 3,
	}))(t)
}

func (f *fixture) approved(t testing.TB, o order.Order) []byte {
	t.Helper()
	return testkit.Must(order.ForIssuer(testkit.Must(order.Approve(f.lee, f.signed(t, f.kim, o)))(t)))(t)
}

func question(t testing.TB, approved []byte, codes ...visit.CTI) []byte {
	t.Helper()
	return testkit.Must(order.EncodeQuestion(order.Question{Order: approved, Codes: codes}))(t)
}

// opened asks under a good order and returns who held the codes.
func (f *fixture) opened(t testing.TB, codes ...visit.CTI) order.IssuerAnswer {
	t.Helper()
	return f.answered(t, question(t, f.approved(t, f.order()), codes...))
}

// answered puts a question and returns the answer.
func (f *fixture) answered(t testing.TB, question []byte) order.IssuerAnswer {
	t.Helper()
	return testkit.Must(order.OpenIssuerAnswer(testkit.Must(f.Answer(question))(t), f.authority))(t)
}
