package token_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/kipass/kipass/protocol/token"
)

// The keys, names and times of all tests and vectors. A key's seed is the SHA-256 of its name.
var (
	rootKey     = testKey("kipass test root")
	issuerKey   = testKey("kipass test issuer naver")
	narrowKey   = testKey("kipass test issuer pass-2")
	strangerKey = testKey("kipass test stranger")
	longKey     = testKey("kipass test issuer of sixteen characters")
	shortKey    = testKey("kipass test issuer of one character")

	issuedAt   = time.Date(2020, 7, 1, 3, 4, 5, 0, time.UTC)
	narrowFrom = time.Date(2020, 6, 10, 0, 0, 0, 0, time.UTC)
	narrowTo   = time.Date(2020, 12, 31, 14, 59, 59, 0, time.UTC)
	maxTime    = time.Unix(253402300799, 0)
)

const (
	issuer       = "naver"
	narrowIssuer = "pass-2"
	longIssuer   = "abcdefghij-01234"
	shortIssuer  = "k"
)

func testKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func testCTI() (c token.CTI) {
	for i := range c {
		c[i] = byte(0x51 + 3*i)
	}
	return c
}

type ring map[token.KID]token.IssuerKey

func (r ring) Key(kid token.KID) (token.IssuerKey, bool) { k, ok := r[kid]; return k, ok }

func newRing() ring {
	r := ring{}
	for _, k := range ringKeys() {
		r[token.KeyID(k.Public)] = k
	}
	return r
}

func ringKeys() []token.IssuerKey {
	all := func(name string, key ed25519.PrivateKey) token.IssuerKey {
		return token.IssuerKey{Issuer: name, Public: public(key), NotBefore: time.Unix(0, 0), NotAfter: maxTime}
	}
	return []token.IssuerKey{
		all(issuer, issuerKey), all(longIssuer, longKey), all(shortIssuer, shortKey),
		{Issuer: narrowIssuer, Public: public(narrowKey), NotBefore: narrowFrom, NotAfter: narrowTo},
	}
}

// form is a COSE_Sign1 whose every part can be replaced. It is put together byte by byte, with none of the code under test.
type form struct {
	open        []byte // tag and array head
	protected   []byte // content of the protected header
	signedAs    []byte // the protected header signed, if not the one shown
	context     string
	external    []byte
	unprotected []byte
	payload     []byte
	shown       []byte // the payload item shown, if not payload's shortest byte string
	protectedAs []byte // the protected header item shown, if not protected's shortest byte string
	signature   func(sig []byte) []byte
	signatureAs []byte // the signature item's head, if not the shortest
	tail        []byte
}

func newForm(key ed25519.PrivateKey, payload []byte) form {
	return form{open: []byte{0xd2, 0x84}, protected: header(key), context: "Signature1", unprotected: []byte{0xa0}, payload: payload}
}

func header(key ed25519.PrivateKey) []byte {
	kid := token.KeyID(public(key))
	return append([]byte{0xa2, 0x01, 0x27, 0x04, 0x48}, kid[:]...)
}

func (f form) sign(key ed25519.PrivateKey) []byte {
	signedAs := f.signedAs
	if signedAs == nil {
		signedAs = f.protected
	}
	sig := ed25519.Sign(key, join([]byte{0x84, 0x60 | byte(len(f.context))}, []byte(f.context), bstr(signedAs), bstr(f.external), bstr(f.payload)))
	if f.signature != nil {
		sig = f.signature(sig)
	}
	out := join(f.open, or(f.protectedAs, bstr(f.protected)), f.unprotected, or(f.shown, bstr(f.payload)))
	if f.signatureAs != nil {
		return join(out, f.signatureAs, sig, f.tail)
	}
	return join(out, bstr(sig), f.tail)
}

func or(b, otherwise []byte) []byte {
	if b != nil {
		return b
	}
	return otherwise
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// bstr returns the shortest CBOR byte string.
func bstr(b []byte) []byte {
	switch n := len(b); {
	case n < 24:
		return join([]byte{0x40 | byte(n)}, b)
	case n < 256:
		return join([]byte{0x58, byte(n)}, b)
	default:
		return join(binary.BigEndian.AppendUint16([]byte{0x59}, uint16(n)), b)
	}
}

func textOf(raw []byte) string { return token.Prefix + string(token.EncodeBase45(nil, raw)) }

func rawOf(t testing.TB, text string) []byte {
	t.Helper()
	raw, err := token.DecodeBase45(nil, []byte(text[len(token.Prefix):]))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// pair is one claim or header parameter, as encoded.
type pair struct{ key, value any }

// encodedMap writes the pairs as they come: in any order, twice, or badly.
func encodedMap(pairs ...pair) []byte {
	out := []byte{0xa0 | byte(len(pairs))}
	for _, p := range pairs {
		out = join(out, item(p.key), item(p.value))
	}
	return out
}

// verbatim is an item already encoded.
type verbatim []byte

func item(v any) []byte {
	if b, ok := v.(verbatim); ok {
		return b
	}
	b, err := cbor.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// goodClaims are those of an ordinary code; with replaces the value of one.
func goodClaims() []pair {
	cti := testCTI()
	return []pair{{1, issuer}, {4, issuedAt.Unix() + 15}, {6, issuedAt.Unix()}, {7, cti[:]}}
}

func with(key int, value any) []byte {
	claims := goodClaims()
	for i := range claims {
		if claims[i].key == key {
			claims[i].value = value
		}
	}
	return encodedMap(claims...)
}

func without(key int) []byte {
	var kept []pair
	for _, p := range goodClaims() {
		if p.key != key {
			kept = append(kept, p)
		}
	}
	return encodedMap(kept...)
}

// at returns claims with iat and the exp that belongs to it.
func at(iat int64) []byte {
	claims := goodClaims()
	claims[1].value, claims[2].value = iat+15, iat
	return encodedMap(claims...)
}

func validText(t testing.TB) string {
	t.Helper()
	text, err := token.Sign(issuerKey, issuer, issuedAt, testCTI())
	if err != nil {
		t.Fatal(err)
	}
	return text
}
