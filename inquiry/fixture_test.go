package inquiry

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/visit"
)

var now = time.Date(2020, 7, 10, 9, 0, 0, 0, time.UTC)

func officerKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

// fixture is the authority with two officers and one approved order.
type fixture struct {
	*Authority
	dir      string
	order    order.Order
	approved []byte
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{dir: filepath.Join(t.TempDir(), "authority")}
	testkit.Check(t, Init(f.dir, DefaultName))
	f.Authority = testkit.Must(Open(f.dir, func() time.Time { return now }))(t)
	t.Cleanup(func() { f.Close() })
	for name, seed := range map[string]byte{"kim": 1, "lee": 2} {
		testkit.Check(t, f.AddOfficer(order.Officer{Name: name, Public: officerKey(seed).Public().(ed25519.PublicKey)}))
	}
	_, signed, err := f.Order(officerKey(1), Request{
		Case: "2020-17", Officer: "kim", Purpose: "접촉자 조사", Facility: "hongdae-12",
		From: now.Add(-time.Hour), To: now, Valid: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	f.order = testkit.Must(f.Read(signed))(t)
	f.approved = testkit.Must(f.Approve(officerKey(2), signed))(t)
	return f
}

// party serves one answer for every question.
func party(t *testing.T, answer func(body []byte) (contentType string, b []byte, err error)) Endpoint {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		contentType, b, err := answer(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", contentType)
		w.Write(b)
	}))
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return Endpoint{URL: s.URL, Roots: roots}
}

func (f *fixture) visitsParty(t *testing.T, change func(*order.VisitAnswer), codes ...visit.CTI) Endpoint {
	return party(t, func([]byte) (string, []byte, error) {
		a := order.VisitAnswer{Entry: 3, Order: f.order.ID}
		for _, c := range codes {
			a.Scans = append(a.Scans, order.Scan{
				At: now.Add(-time.Minute), Facility: f.order.Facility, Gate: "door-1", Issuer: "naver", CTI: c,
				Clock: visit.ClockSynced, Skew: 2 * time.Second,
			})
		}
		if change != nil {
			change(&a)
		}
		sealed, err := order.SealVisitAnswer(f.order.Recipient, a)
		return order.TypeVisitAnswer, sealed, err
	})
}

// issuerParty opens every code to one holder.
func (f *fixture) issuerParty(t *testing.T, change func(*order.IssuerAnswer)) Endpoint {
	return party(t, func(body []byte) (string, []byte, error) {
		q, err := order.DecodeQuestion(body)
		if err != nil {
			return "", nil, err
		}
		a := order.IssuerAnswer{Entry: 5, Order: f.order.ID}
		for _, c := range q.Codes {
			a.Holders = append(a.Holders, order.Holder{
				CTI: c, Name: "김철수", Phone: "+821011112222", IssuedAt: now.Add(-time.Minute),
			})
		}
		if change != nil {
			change(&a)
		}
		sealed, err := order.SealIssuerAnswer(f.order.Recipient, a)
		return order.TypeIssuerAnswer, sealed, err
	})
}

func config(visits, issuer Endpoint) Config {
	return Config{Visits: visits, Issuers: func(string) (Endpoint, error) { return issuer, nil }, Progress: func(string) {}}
}

func numbered(n int) (c visit.CTI) {
	binary.BigEndian.PutUint32(c[:], uint32(n))
	return c
}
