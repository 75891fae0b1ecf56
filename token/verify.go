package token

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/veraison/go-cose"
)

// Unverified is text that has the form of an entry code. It tells nothing: its key identifier serves only to find a key.
type Unverified struct {
	kid KID
	msg *cose.Sign1Message
}

// protectedSize is the length of the only protected header a code may have: {1: -8, 4: h'<8 bytes>'}, 13 bytes, and
// one byte for the byte string around it.
const protectedSize = 14

// Parse decides whether text is an entry code at all, before any cryptography. The error wraps [ErrNotACode].
func Parse(text []byte) (Unverified, error) {
	if len(text) > MaxText {
		return Unverified{}, fmt.Errorf("%w: %d bytes, at most %d are read", ErrNotACode, len(text), MaxText)
	}
	body, ok := bytes.CutPrefix(text, []byte(Prefix))
	if !ok {
		return Unverified{}, fmt.Errorf("%w: does not begin with %q", ErrNotACode, Prefix)
	}
	raw, err := decodeBase45(make([]byte, 0, len(body)*2/3+1), body)
	if err != nil {
		return Unverified{}, fmt.Errorf("%w: %v", ErrNotACode, err)
	}
	msg := cose.NewSign1Message()
	if err := msg.UnmarshalCBOR(raw); err != nil {
		return Unverified{}, fmt.Errorf("%w: not a tagged COSE_Sign1", ErrNotACode)
	}
	if !bytes.Equal(msg.Headers.RawUnprotected, []byte{0xa0}) {
		return Unverified{}, fmt.Errorf("%w: the unprotected header is not empty", ErrNotACode)
	}
	kid, ok := msg.Headers.Protected[cose.HeaderLabelKeyID].([]byte)
	if !ok || len(kid) != len(KID{}) {
		return Unverified{}, fmt.Errorf("%w: no key identifier of 8 bytes in the protected header", ErrNotACode)
	}
	u := Unverified{kid: KID(kid), msg: msg}
	if !bytes.Equal(msg.Headers.RawProtected, protectedHeader(u.kid)) {
		return Unverified{}, fmt.Errorf("%w: the protected header is not exactly EdDSA and a key identifier", ErrNotACode)
	}
	return u, nil
}

// protectedHeader returns the deterministic encoding of the protected header as it stands in the message.
func protectedHeader(kid KID) []byte {
	h := make([]byte, 0, protectedSize)
	h = append(h, 0x40|(protectedSize-1), 0xa2, 0x01, 0x27, 0x04, 0x48)
	return append(h, kid[:]...)
}

// IssuerKey is one signing key of an issuer. A code is genuine only if it was issued within the key's time.
type IssuerKey struct {
	Issuer    string // short name, must equal the code's iss claim
	Public    ed25519.PublicKey
	NotBefore time.Time // first moment of issue, inclusive
	NotAfter  time.Time // last moment of issue, inclusive
}

// Keyring finds the key with which a code claims to be signed.
type Keyring interface {
	Key(kid KID) (IssuerKey, bool)
}

// Verify checks signature and claims against the issuer's key. The error wraps [ErrUnknownIssuer] or [ErrNotGenuine],
// and then the Code is zero.
func (u Unverified) Verify(k Keyring) (Code, error) {
	if u.msg == nil {
		return Code{}, fmt.Errorf("%w: nothing was parsed", ErrNotGenuine)
	}
	key, ok := k.Key(u.kid)
	if !ok {
		return Code{}, fmt.Errorf("%w: kid %v", ErrUnknownIssuer, u.kid)
	}
	verifier, err := cose.NewVerifier(cose.AlgorithmEdDSA, key.Public)
	if err != nil {
		return Code{}, fmt.Errorf("%w: key %v of %s: %v", ErrNotGenuine, u.kid, key.Issuer, err)
	}
	if err := u.msg.Verify(nil, verifier); err != nil {
		return Code{}, fmt.Errorf("%w: signature does not match key %v of %s", ErrNotGenuine, u.kid, key.Issuer)
	}
	code, err := readClaims(u.msg.Payload)
	if err != nil {
		return Code{}, fmt.Errorf("%w: key %v of %s: %v", ErrNotGenuine, u.kid, key.Issuer, err)
	}
	if code.issuer != key.Issuer {
		return Code{}, fmt.Errorf("%w: iss is not %s, whose key %v signed it", ErrNotGenuine, key.Issuer, u.kid)
	}
	if at := code.IssuedAt(); at.Before(key.NotBefore) || at.After(key.NotAfter) {
		return Code{}, fmt.Errorf("%w: issued outside the validity of key %v of %s", ErrNotGenuine, u.kid, key.Issuer)
	}
	return code, nil
}

// readClaims reads a payload whose signature is good. Its errors name the rule broken, never a value.
func readClaims(payload []byte) (Code, error) {
	var c claims
	if err := decMode.Unmarshal(payload, &c); err != nil {
		return Code{}, fmt.Errorf("claims are not a strict CWT")
	}
	switch {
	case !validIssuer(c.Issuer):
		return Code{}, fmt.Errorf("iss is not 1 to 16 of a-z, 0-9 and '-'")
	case len(c.CTI) != CTISize:
		return Code{}, fmt.Errorf("cti is not %d bytes long", CTISize)
	case c.Iat <= 0 || c.Iat > maxIat:
		return Code{}, fmt.Errorf("iat is out of range")
	case c.Exp != c.Iat+int64(Lifetime/time.Second):
		return Code{}, fmt.Errorf("exp is not iat + %d", Lifetime/time.Second)
	}
	again, err := encMode.Marshal(c)
	if err != nil || !bytes.Equal(again, payload) {
		return Code{}, fmt.Errorf("claims are not deterministically encoded")
	}
	return Code{issuer: c.Issuer, iat: c.Iat, cti: CTI(c.CTI)}, nil
}

// maxIat (year 9999) keeps every arithmetic on times of issue far from overflow.
const maxIat = 253402300799
