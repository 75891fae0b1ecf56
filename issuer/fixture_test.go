package issuer

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"log/slog"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
)

// clock is a wall clock that tests drive.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = t
}

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
	clock     *clock
	log       *bytes.Buffer
	kim, lee  ed25519.PrivateKey
	authority *age.X25519Identity
}

func officerKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{dir: t.TempDir(), clock: &clock{t: noon}, log: &bytes.Buffer{}, kim: officerKey(1), lee: officerKey(2)}
	if err := Init(f.dir, "", About{Name: "naver", Display: "네이버", Hosts: []string{"127.0.0.1"}}, noon); err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]ed25519.PrivateKey{"kim": f.kim, "lee": f.lee} {
		if err := AddOfficer(f.dir, order.Officer{Name: name, Public: key.Public().(ed25519.PublicKey)}); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if f.authority, err = age.GenerateX25519Identity(); err != nil {
		t.Fatal(err)
	}
	f.reopen(t, durable.Disk{})
	t.Cleanup(func() { f.Issuer.Close() })
	return f
}

func (f *fixture) reopen(t testing.TB, disk durable.Disk) {
	t.Helper()
	if f.Issuer != nil {
		if err := f.Issuer.Close(); err != nil {
			t.Fatal(err)
		}
	}
	i, err := open(f.dir, "", Options{
		Registrar: OpenRegistration{}, CodesPerMinute: 1000, Now: f.clock.now, Logger: slog.New(slog.NewTextHandler(f.log, nil)),
	}, disk, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.Issuer = i
}

func (f *fixture) register(t testing.TB, name string) string {
	t.Helper()
	bearer, err := f.Register(context.Background(), RegisterRequest{Name: name, Phone: testPhone, Consent: true})
	if err != nil {
		t.Fatal(err)
	}
	return bearer
}

// code gives out a code and reads it as a gate would.
func (f *fixture) code(t testing.TB, bearer string) token.Code {
	t.Helper()
	issued, err := f.Issue(bearer)
	if err != nil {
		t.Fatal(err)
	}
	return f.read(t, issued.Text)
}

type oneKey token.IssuerKey

func (k oneKey) Key(token.KID) (token.IssuerKey, bool) { return token.IssuerKey(k), true }

func (f *fixture) read(t testing.TB, text string) token.Code {
	t.Helper()
	u, err := token.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	c, err := u.Verify(oneKey{Issuer: "naver", Public: f.PublicKey(), NotBefore: noon.AddDate(-1, 0, 0), NotAfter: noon.AddDate(1, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// order is a good one about the three days before the clock's time.
func (f *fixture) order() order.Order {
	now := f.clock.now().UTC().Truncate(time.Second)
	return order.Order{
		ID: order.NewID(), Case: "2020-17", Officer: "kim", Purpose: "접촉자 조사", Facility: "hongdae-12",
		From: now.Add(-72 * time.Hour), To: now.Add(time.Minute), Recipient: f.authority.Recipient().String(),
		IssuedAt: now, Expires: now.Add(time.Hour),
	}
}

func (f *fixture) approved(t testing.TB, o order.Order) []byte {
	t.Helper()
	signed, err := order.Sign(f.kim, o)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := order.Approve(f.lee, signed)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err = order.WithoutPlace(raw); err != nil {
		t.Fatal(err)
	}
	return raw
}

func question(t testing.TB, approved []byte, codes ...order.Code) []byte {
	t.Helper()
	q, err := order.EncodeQuestion(order.Question{Order: approved, Codes: codes})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// opened asks under a good order and returns who held the codes.
func (f *fixture) opened(t testing.TB, codes ...order.Code) order.IssuerAnswer {
	t.Helper()
	sealed, err := f.Answer(question(t, f.approved(t, f.order()), codes...))
	if err != nil {
		t.Fatal(err)
	}
	a, err := order.OpenIssuerAnswer(sealed, f.authority)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func scanned(c token.Code, after time.Duration) order.Code {
	return order.Code{CTI: visit.CTI(c.CTI()), At: c.IssuedAt().Add(after)}
}
