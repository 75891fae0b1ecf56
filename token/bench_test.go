package token_test

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/kipass/kipass/token"
)

// benchCode returns a code, a keyring that knows its key, and the very bytes bare Ed25519 has to check for it.
func benchCode(b *testing.B) (text []byte, ring token.Keyring, pub ed25519.PublicKey, signed, sig []byte) {
	b.Helper()
	text = []byte(validText(b))
	var msg struct {
		_           struct{} `cbor:",toarray"`
		Protected   []byte
		Unprotected map[int]any
		Payload     []byte
		Signature   []byte
	}
	if err := cbor.Unmarshal(rawOf(b, string(text))[1:], &msg); err != nil {
		b.Fatal(err)
	}
	signed, err := cbor.Marshal([]any{"Signature1", msg.Protected, []byte{}, msg.Payload})
	if err != nil {
		b.Fatal(err)
	}
	pub = issuerKey.Public().(ed25519.PublicKey)
	if !ed25519.Verify(pub, signed, msg.Signature) {
		b.Fatal("the bytes of bare Ed25519 are not those of the code")
	}
	return text, newRing(), pub, signed, msg.Signature
}

// admit is the gate's whole use of the package: parse, verify, claims and freshness.
func admit(b *testing.B, text []byte, ring token.Keyring, now time.Time) {
	u, err := token.Parse(text)
	if err != nil {
		b.Fatal(err)
	}
	c, err := u.Verify(ring)
	if err != nil {
		b.Fatal(err)
	}
	if c.Fresh(now, 2*time.Second) != token.Fresh {
		b.Fatal("not fresh")
	}
}

func BenchmarkVerify(b *testing.B) {
	text, ring, _, _, _ := benchCode(b)
	b.ReportAllocs()
	for b.Loop() {
		admit(b, text, ring, issuedAt)
	}
}

func BenchmarkBareEd25519(b *testing.B) {
	_, _, pub, signed, sig := benchCode(b)
	b.ReportAllocs()
	for b.Loop() {
		if !ed25519.Verify(pub, signed, sig) {
			b.Fatal("refused")
		}
	}
}

// BenchmarkVerifyToBare interleaves the two above and reports the ratio of their medians, which is what the target of
// 1.15 binds: single figures drift with the machine.
func BenchmarkVerifyToBare(b *testing.B) {
	text, ring, pub, signed, sig := benchCode(b)
	var whole, bare []time.Duration
	for b.Loop() {
		start := time.Now()
		admit(b, text, ring, issuedAt)
		middle := time.Now()
		if !ed25519.Verify(pub, signed, sig) {
			b.Fatal("refused")
		}
		whole, bare = append(whole, middle.Sub(start)), append(bare, time.Since(middle))
	}
	slices.Sort(whole)
	slices.Sort(bare)
	b.ReportMetric(float64(whole[len(whole)/2])/float64(bare[len(bare)/2]), "ratio")
}

func BenchmarkSign(b *testing.B) {
	cti := token.CTI(bytes.Repeat([]byte{7}, token.CTISize))
	for b.Loop() {
		if _, err := token.Sign(issuerKey, issuer, issuedAt, cti); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenTrustList(b *testing.B) {
	raw := signedList(b, listOf(300))
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := token.OpenTrustList(rootKey.Public().(ed25519.PublicKey), raw); err != nil {
			b.Fatal(err)
		}
	}
}
