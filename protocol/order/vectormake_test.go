package order

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"filippo.io/age"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
)

// sealVectors encrypts the answers with a fixed stream of random bytes.
func sealVectors(t *testing.T, v *vectors) {
	cryptotest.SetGlobalRandom(t, 1)
	recipient := vectorCertificate(t, testkit.Must(NewDraft(sample()))(t))
	for i := range v.Visits {
		v.Visits[i].Sealed = hex.EncodeToString(testkit.Must(seal(recipient, testkit.Unhex(t, v.Visits[i].Plain)))(t))
	}
	for i := range v.Holders {
		v.Holders[i].Sealed = hex.EncodeToString(testkit.Must(seal(recipient, testkit.Unhex(t, v.Holders[i].Plain)))(t))
	}
}

func makeVectors(t *testing.T) vectors {
	t.Helper()
	v := vectors{
		About: "Orders, approvals and the exchange under them, as in protocol/order/SPEC.md.", Now: now.Unix(), Identity: vectorIdentity,
	}
	v.Root = vectorRoot{
		Name: authorityName, Private: hex.EncodeToString(root.Seed()), Public: hex.EncodeToString(pub(root)),
		Text: FormatRoot(pub(root)), KeyID: KeyIDOf(pub(root)).String(),
	}
	for _, o := range []struct {
		name string
		key  ed25519.PrivateKey
	}{{"kim", kim}, {"lee", lee}, {"park", park}} {
		v.Officers = append(v.Officers, vectorOfficer{
			Name: o.name, Private: hex.EncodeToString(o.key.Seed()), Public: hex.EncodeToString(pub(o.key)),
			Text: o.name + " " + FormatPublicKey(pub(o.key)), KeyID: KeyIDOf(pub(o.key)).String(),
		})
	}
	ordinary := sample()
	widest := ordinary
	widest.ID, widest.Case, widest.Purpose = ID(bytes.Repeat([]byte{0xff}, 16)), strings.Repeat("9", maxCase), strings.Repeat("가", maxPurpose/3)
	widest.Facility = visit.Facility(strings.Repeat("f", 32))
	widest.IssuedAt, widest.To = now, now.Add(MaxAhead)
	widest.From, widest.Expires = widest.To.Add(-MaxWindow), now.Add(MaxValidity)
	v.Orders = append(v.Orders, orderVector(t, "an ordinary order", ordinary, 0x10), orderVector(t, "at every limit", widest, 0x20))
	v.Refused = refusedVectors(t, ordinary)
	v.messages(t)
	return v
}

// vectorCertificate certifies the recipient whose identity is among the vectors.
func vectorCertificate(t *testing.T, d Draft) Certificate {
	t.Helper()
	c := certification()
	c.Recipient = testkit.Must(age.ParseX25519Identity(vectorIdentity))(t).Recipient().String()
	return testkit.Must(d.Certify(root, c))(t)
}

func orderVector(t *testing.T, name string, o Order, salt byte) vectorOrder {
	t.Helper()
	p := particulars{facility: o.Facility, purpose: o.Purpose, salt: [16]byte(bytes.Repeat([]byte{salt}, 16))}
	d := testkit.Must(draft(o, p))(t)
	c := vectorCertificate(t, d)
	signed := testkit.Must(d.Sign(kim, c))(t)
	approved := testkit.Must(Approve(lee, signed))(t)
	return vectorOrder{
		Name: name, ID: o.ID.String(), Case: o.Case, Officer: o.Officer, Approver: "lee", Purpose: o.Purpose,
		Facility: string(o.Facility), Salt: hex.EncodeToString(p.salt[:]), From: o.From.Unix(), To: o.To.Unix(),
		IssuedAt: o.IssuedAt.Unix(), Expires: o.Expires.Unix(),
		Recipient: c.Recipient, Fingerprint: c.Fingerprint(), Entry: c.Entry, Digest: hex.EncodeToString(c.Digest[:]),
		Certificate: hex.EncodeToString([]byte(c.raw)), Payload: hex.EncodeToString(d.payload(t, []byte(c.raw))),
		Signed: hex.EncodeToString(signed), Approved: hex.EncodeToString(approved),
		ForIssuer: hex.EncodeToString(testkit.Must(ForIssuer(approved))(t)),
	}
}

func refusedVectors(t *testing.T, o Order) (all []vectorRefused) {
	t.Helper()
	p := particulars{facility: o.Facility, purpose: o.Purpose, salt: [16]byte{1}}
	d := testkit.Must(draft(o, p))(t)
	certificate := vectorCertificate(t, d)
	payload := d.payload(t, []byte(certificate.raw))
	layer := func(key ed25519.PrivateKey, content string, payload []byte) []byte {
		return testkit.Must(sign1(key, content, payload))(t)
	}
	signedBy := func(key ed25519.PrivateKey) []byte { return layer(key, contentOrder, payload) }
	good := layer(lee, contentApproval, signedBy(kim))
	add := func(name, why string, now time.Time, p particulars, signed []byte) {
		enclosed := testkit.Must(p.enclose(signed))(t)
		all = append(all, vectorRefused{Name: name, Why: why, Now: now.Unix(), Order: hex.EncodeToString(enclosed)})
	}
	elsewhere, otherwise, salted := p, p, p
	elsewhere.facility, otherwise.purpose = "gangnam-1", "다른 목적"
	salted.salt[15] = 1
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	add("not approved", "malformed", now, p, signedBy(kim))
	add("approved by the officer who signed", "refused", now, p, layer(kim, contentApproval, signedBy(kim)))
	add("approved by someone outside the register", "refused", now, p, layer(stranger, contentApproval, signedBy(kim)))
	add("signed by another officer than it names", "refused", now, p, layer(lee, contentApproval, signedBy(park)))
	add("an approval within an approval", "malformed", now, p, layer(lee, contentApproval, layer(kim, contentApproval, payload)))
	add("a bit of the approval's signature flipped", "refused", now, p, flipped)
	add("another facility beside the signatures", "refused", now, elsewhere, good)
	add("another purpose beside the signatures", "refused", now, otherwise, good)
	add("another salt beside the signatures", "refused", now, salted, good)
	add("expired by a second", "refused", o.Expires.Add(time.Second), p, good)
	add("dated a second more than 5 minutes in the future", "refused", o.IssuedAt.Add(-MaxAhead-time.Second), p, good)
	foreign := testkit.Must(d.Certify(otherRoot, certification()))(t)
	expired := certification()
	expired.NotAfter = now.Add(-time.Second)
	for _, c := range []struct {
		name        string
		certificate []byte
	}{
		{"a recipient without a certificate", []byte{}},
		{"a recipient certified by another authority", []byte(foreign.raw)},
		{"a recipient certified for another order", []byte(vectorCertificate(t, testkit.Must(draft(o, otherwise))(t)).raw)},
		{"a recipient whose certificate expired a second ago", []byte(testkit.Must(d.Certify(root, expired))(t).raw)},
	} {
		add(c.name, "recipient", now, p, layer(lee, contentApproval, layer(kim, contentOrder, d.payload(t, c.certificate))))
	}
	with := hex.EncodeToString(testkit.Must(p.enclose(good))(t))
	return append(all,
		vectorRefused{Name: "a byte after its end", Why: "malformed", Now: now.Unix(), Order: with + "00"},
		vectorRefused{Name: "as an issuer is given it, given to the visit server", Why: "malformed", Now: now.Unix(), Order: hex.EncodeToString(good)},
		vectorRefused{Name: "as the visit server is given it, given to an issuer", Why: "malformed", Issuer: true, Now: now.Unix(), Order: with},
	)
}

func (v *vectors) messages(t *testing.T) {
	t.Helper()
	at, id, code := now.Add(-30*time.Hour), v.Orders[0].ID, func(b byte) visit.CTI { return visit.CTI(bytes.Repeat([]byte{b}, visit.CTISize)) }
	text := func(c visit.CTI) string { return hex.EncodeToString(c[:]) }
	q := Question{Order: testkit.Unhex(t, v.Orders[0].ForIssuer), Codes: []visit.CTI{code(1), code(2)}}
	raw := testkit.Must(EncodeQuestion(q))(t)
	v.Questions = []vectorMessage{{
		Name: "two codes", Order: v.Orders[0].ForIssuer, Question: hex.EncodeToString(raw),
		Codes: []string{text(code(1)), text(code(2))},
	}}
	a := VisitAnswer{Entry: 41, Order: sample().ID, Scans: []Scan{
		{At: at, Facility: "hongdae-12", Gate: "door-1", Issuer: "naver", CTI: code(1), Clock: visit.ClockSynced, Skew: 2 * time.Second},
		{At: at.Add(1500 * time.Millisecond), Facility: "hongdae-12", Gate: "door-2", Issuer: "pass", CTI: code(2), Flags: Late | TwoPlaces},
	}, Gates: []GateState{
		{Gate: "door-1", Receipt: at.Add(time.Hour), Delivered: at.Add(59 * time.Minute)},
		{
			Gate: "door-2", Receipt: at.Add(time.Hour), Backlog: 12, Alerts: []string{"new-journal"},
			Gaps: []Gap{{From: at.Add(-time.Hour), To: at, Missing: 3}},
		},
	}, Damaged: []string{"2020-07-09"}}
	visits := vectorVisits{Name: "two scans", Entry: 41, Order: id, Damaged: a.Damaged, Plain: hex.EncodeToString(testkit.Must(encodeVisitAnswer(a))(t))}
	for _, s := range a.Scans {
		visits.Scans = append(visits.Scans, scanVector(s))
	}
	for _, g := range a.Gates {
		visits.Gates = append(visits.Gates, gateVector(g))
	}
	v.Visits = []vectorVisits{visits}
	h := IssuerAnswer{Entry: 7, Order: sample().ID, Holders: []Holder{{code(1), "김철수", "+821012345678", at.Truncate(time.Second)}}, Unopened: []visit.CTI{code(2)}}
	v.Holders = []vectorHolders{{
		Name: "one of two codes opened", Entry: 7, Order: id, Holders: []vectorHolder{{text(code(1)), "김철수", "+821012345678", at.Unix()}},
		Unopened: []string{text(code(2))}, Plain: hex.EncodeToString(testkit.Must(encodeIssuerAnswer(h))(t)),
	}}
	p := Problem{Code: CodeTooMany, Detail: "ask for shorter windows"}
	v.Problems = []vectorProblem{{Name: p.Code, Detail: p.Detail, Problem: hex.EncodeToString(testkit.Must(EncodeProblem(p))(t))}}
	twice := wireQuestion{Order: []byte{1}, Codes: [][]byte{q.Codes[0][:], q.Codes[0][:]}}
	none, short := wireQuestion{Order: []byte{1}, Codes: [][]byte{}}, wireQuestion{Order: []byte{1}, Codes: [][]byte{{1}}}
	for _, m := range []struct {
		name     string
		question []byte
	}{
		{"a code twice", testkit.Must(encMode.Marshal(twice))(t)}, {"no code", testkit.Must(encMode.Marshal(none))(t)},
		{"a code of one byte", testkit.Must(encMode.Marshal(short))(t)}, {"a byte after its end", append(slices.Clone(raw), 0)},
		{"an unknown key", testkit.Must(encMode.Marshal(map[int]any{1: []byte{1}, 2: [][]byte{}, 3: 0}))(t)},
	} {
		v.Malformed = append(v.Malformed, vectorBroken{m.name, hex.EncodeToString(m.question)})
	}
}
