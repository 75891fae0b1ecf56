package order

import (
	"bytes"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
)

// FuzzVerify begins with one order whose salt is fixed: each worker is a process of its own, and all of them must hold
// the same bytes to be good.
func FuzzVerify(f *testing.F) {
	signed := testkit.Must(signAt(kim, sample(), place{facility: sample().Facility, salt: [16]byte{1}}))(f)
	good := testkit.Must(Approve(lee, signed))(f)
	f.Add(good)
	f.Add(good[:len(good)-1])
	officers := register(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := Verify(raw, officers, now); err == nil && !bytes.Equal(raw, good) {
			t.Error("other bytes than the approved order hold")
		}
	})
}

func FuzzUnmarshal(f *testing.F) {
	b := testkit.Must(sample().marshal([32]byte{1}))(f)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		o, digest, err := unmarshal(b)
		if err != nil {
			return
		}
		again, err := o.marshal(digest)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("read from %x, written as %x, %v", b, again, err)
		}
	})
}

func FuzzMessages(f *testing.F) {
	q := testkit.Must(EncodeQuestion(Question{Order: []byte{1}, Codes: []visit.CTI{{1}}}))(f)
	v := testkit.Must(encodeVisitAnswer(VisitAnswer{Scans: []Scan{{At: now, Facility: "f", Gate: "g", Issuer: "i"}}}))(f)
	a := testkit.Must(encodeIssuerAnswer(IssuerAnswer{Holders: []Holder{{visit.CTI{1}, "n", "1", now}}, Unopened: []visit.CTI{{2}}}))(f)
	p := testkit.Must(EncodeProblem(Problem{Code: "bad-order", Detail: "x"}))(f)
	for _, b := range [][]byte{q, v, a, p} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if q, err := DecodeQuestion(b); err == nil {
			if _, err := EncodeQuestion(q); err != nil {
				t.Errorf("question: %v", err)
			}
		}
		if v, err := decodeVisitAnswer(b); err == nil {
			if _, err := encodeVisitAnswer(v); err != nil {
				t.Errorf("visit answer: %v", err)
			}
		}
		if a, err := decodeIssuerAnswer(b); err == nil {
			if _, err := encodeIssuerAnswer(a); err != nil {
				t.Errorf("issuer answer: %v", err)
			}
		}
		if p, err := DecodeProblem(b); err == nil {
			if _, err := EncodeProblem(p); err != nil {
				t.Errorf("problem: %v", err)
			}
		}
	})
}

func FuzzParseOfficers(f *testing.F) {
	f.Add([]byte("kim " + FormatPublicKey(pub(kim)) + "\n# second\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ParseOfficers(text)
		if err != nil && r.Len() != 0 {
			t.Error("officers beside an error")
		}
	})
}
