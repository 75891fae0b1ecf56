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
	d := testkit.Must(draft(sample(), particulars{facility: sample().Facility, purpose: sample().Purpose, salt: [16]byte{1}}))(f)
	signed := testkit.Must(d.Sign(kim, certificate(f, d)))(f)
	good := testkit.Must(Approve(lee, signed))(f)
	f.Add(good)
	f.Add(good[:len(good)-1])
	trusted := trusted(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := Verify(raw, trusted, now); err == nil && !bytes.Equal(raw, good) {
			t.Error("other bytes than the approved order hold")
		}
	})
}

func FuzzUnmarshal(f *testing.F) {
	d := testkit.Must(NewDraft(sample()))(f)
	f.Add(d.payload(f, []byte(certificate(f, d).raw)))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, w, err := unmarshal(b)
		if err != nil {
			return
		}
		again, err := o.wire([32]byte(w.Particulars))
		if err != nil {
			t.Fatalf("read, and not written: %v", err)
		}
		again.Certificate = w.Certificate
		if raw, err := encMode.Marshal(again); err != nil || !bytes.Equal(raw, b) {
			t.Errorf("read from %x, written as %x, %v", b, raw, err)
		}
	})
}

func FuzzReadCertificate(f *testing.F) {
	good := certificate(f, testkit.Must(NewDraft(sample()))(f))
	f.Add([]byte(good.raw))
	f.Add([]byte(good.raw)[:40])
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := readCertificate(raw)
		if err == nil && (c.raw != string(raw) || c.check() != nil) {
			t.Errorf("%x is read as %+v", raw, c)
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
