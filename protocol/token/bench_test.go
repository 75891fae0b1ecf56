package token_test

import (
	"bytes"
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/kipass/kipass/protocol/token"
)

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

// BenchmarkVerify is the whole check of a code. How it stands to bare Ed25519, lab/bench measures.
func BenchmarkVerify(b *testing.B) {
	text, ring := []byte(validText(b)), newRing()
	b.ReportAllocs()
	for b.Loop() {
		admit(b, text, ring, issuedAt)
	}
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
