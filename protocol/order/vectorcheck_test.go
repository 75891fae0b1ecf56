package order

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
)

// These tests use nothing but the file of vectors and the exported functions, as another implementation would.

func (v vectors) trusted(t *testing.T) Trusted {
	t.Helper()
	return Trusted{Officers: v.register(t), Root: testkit.Must(ParseRoot(v.Root.Text))(t)}
}

func (v vectors) register(t *testing.T) Officers {
	t.Helper()
	var lines []string
	for _, o := range v.Officers {
		lines = append(lines, o.Text)
	}
	return testkit.Must(ParseOfficers([]byte(strings.Join(lines, "\n"))))(t)
}

func TestOfficerVectors(t *testing.T) {
	v := testkit.ReadVectors[vectors](t, vectorFile)
	register := v.register(t)
	for _, o := range v.Officers {
		key := ed25519.NewKeyFromSeed(testkit.Unhex(t, o.Private))
		pub := ed25519.PublicKey(testkit.Unhex(t, o.Public))
		found, ok := register.ByKey(KeyIDOf(pub))
		if !pub.Equal(key.Public()) || KeyIDOf(pub).String() != o.KeyID || !ok || found.Name != o.Name {
			t.Errorf("officer %s: key %v, found %v %s", o.Name, KeyIDOf(pub), ok, found.Name)
		}
	}
}

func TestOrderVectors(t *testing.T) {
	v := testkit.ReadVectors[vectors](t, vectorFile)
	at := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	for _, o := range v.Orders {
		want := Order{
			ID: testkit.Must(ParseID(o.ID))(t), Case: o.Case, Officer: o.Officer, Purpose: o.Purpose, Facility: visit.Facility(o.Facility),
			From: at(o.From), To: at(o.To), IssuedAt: at(o.IssuedAt), Expires: at(o.Expires),
		}
		got := testkit.Must(ReadSigned(testkit.Unhex(t, o.Signed), v.trusted(t), at(v.Now)))(t)
		want.Recipient = v.checkRecipient(t, o, got.Recipient)
		want.Digest = want.Recipient.Digest
		if got != want {
			t.Errorf("%s, signed: %+v", o.Name, got)
		}
		if got := testkit.Must(Verify(testkit.Unhex(t, o.Approved), v.trusted(t), at(v.Now)))(t); got != (Approved{want, o.Approver}) {
			t.Errorf("%s, approved: %+v", o.Name, got)
		}
		forIssuer := testkit.Must(ForIssuer(testkit.Unhex(t, o.Approved)))(t)
		if hex.EncodeToString(forIssuer) != o.ForIssuer {
			t.Errorf("%s, for an issuer: %x", o.Name, forIssuer)
		}
		want.Facility, want.Purpose = "", ""
		if got := testkit.Must(VerifyForIssuer(forIssuer, v.trusted(t), at(v.Now)))(t); got != (Approved{want, o.Approver}) {
			t.Errorf("%s, for an issuer: %+v", o.Name, got)
		}
		approver := ed25519.NewKeyFromSeed(testkit.Unhex(t, v.Officers[1].Private))
		if approved := testkit.Must(Approve(approver, testkit.Unhex(t, o.Signed)))(t); hex.EncodeToString(approved) != o.Approved {
			t.Errorf("%s is approved as %x", o.Name, approved)
		}
	}
	for _, r := range v.Refused {
		want := map[string]error{"malformed": ErrMalformed, "refused": ErrRefused, "recipient": ErrRecipient}[r.Why]
		verify := Verify
		if r.Issuer {
			verify = VerifyForIssuer
		}
		if got, err := verify(testkit.Unhex(t, r.Order), v.trusted(t), at(r.Now)); want == nil || !errors.Is(err, want) || errors.Is(err, ErrRecipient) != (want == ErrRecipient) || got != (Approved{}) {
			t.Errorf("%s: %v, want it %s", r.Name, err, r.Why)
		}
	}
}

// checkRecipient compares a certificate with what the file says of it and returns it.
func (v vectors) checkRecipient(t *testing.T, o vectorOrder, got Certificate) Certificate {
	t.Helper()
	want := Certification{
		Authority: v.Root.Name, Recipient: o.Recipient, Digest: [32]byte(testkit.Unhex(t, o.Digest)), Entry: o.Entry,
		NotBefore: time.Unix(o.IssuedAt, 0).UTC(), NotAfter: time.Unix(o.Expires, 0).UTC(),
	}
	if got.Certification != want || got.Root.String() != v.Root.KeyID || got.Fingerprint() != o.Fingerprint ||
		!strings.Contains(o.Payload, o.Certificate) {
		t.Errorf("%s: its recipient is %+v, %s", o.Name, got, got.Fingerprint())
	}
	return got
}

func TestMessageVectors(t *testing.T) {
	v := testkit.ReadVectors[vectors](t, vectorFile)
	identity := testkit.Must(age.ParseX25519Identity(v.Identity))(t)
	for _, m := range v.Questions {
		q := testkit.Must(DecodeQuestion(testkit.Unhex(t, m.Question)))(t)
		if hex.EncodeToString(q.Order) != m.Order || len(q.Codes) != len(m.Codes) {
			t.Fatalf("%s: %d codes under %x", m.Name, len(q.Codes), q.Order)
		}
		for i, c := range q.Codes {
			if hex.EncodeToString(c[:]) != m.Codes[i] {
				t.Errorf("%s: code %d is %x", m.Name, i, c[:])
			}
		}
	}
	for _, m := range v.Malformed {
		if _, err := DecodeQuestion(testkit.Unhex(t, m.Question)); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", m.Name, err)
		}
	}
	for _, m := range v.Visits {
		a := testkit.Must(OpenVisitAnswer(testkit.Unhex(t, m.Sealed), identity))(t)
		if a.Entry != m.Entry || a.Order.String() != m.Order || len(a.Scans) != len(m.Scans) {
			t.Fatalf("%s: %+v", m.Name, a)
		}
		if len(a.Gates) != len(m.Gates) || !slices.Equal(a.Damaged, m.Damaged) {
			t.Fatalf("%s: gates %+v, damaged %v", m.Name, a.Gates, a.Damaged)
		}
		for i, g := range a.Gates {
			if got := gateVector(g); got.Gate != m.Gates[i].Gate || got.Receipt != m.Gates[i].Receipt || got.Delivered != m.Gates[i].Delivered ||
				got.Backlog != m.Gates[i].Backlog || !slices.Equal(got.Gaps, m.Gates[i].Gaps) || !slices.Equal(got.Alerts, m.Gates[i].Alerts) {
				t.Errorf("%s: gate %d is %+v", m.Name, i, got)
			}
		}
		for i, s := range a.Scans {
			if got := scanVector(s); got != m.Scans[i] {
				t.Errorf("%s: scan %d is %+v", m.Name, i, got)
			}
		}
	}
	for _, m := range v.Holders {
		a := testkit.Must(OpenIssuerAnswer(testkit.Unhex(t, m.Sealed), identity))(t)
		if a.Entry != m.Entry || a.Order.String() != m.Order || len(a.Holders) != len(m.Holders) || len(a.Unopened) != len(m.Unopened) {
			t.Fatalf("%s: entry %d, order %v, %d opened, %d not", m.Name, a.Entry, a.Order, len(a.Holders), len(a.Unopened))
		}
		for i, h := range a.Holders {
			if got := (vectorHolder{hex.EncodeToString(h.CTI[:]), h.Name, h.Phone, h.IssuedAt.Unix()}); got != m.Holders[i] {
				t.Errorf("%s: holder %d is another", m.Name, i)
			}
		}
		for i, c := range a.Unopened {
			if !bytes.Equal(c[:], testkit.Unhex(t, m.Unopened[i])) {
				t.Errorf("%s: unopened code %d is %x", m.Name, i, c)
			}
		}
	}
	for _, m := range v.Problems {
		if p := testkit.Must(DecodeProblem(testkit.Unhex(t, m.Problem)))(t); p != (Problem{Code: m.Name, Detail: m.Detail}) {
			t.Errorf("%s: %+v", m.Name, p)
		}
	}
}
