package token

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/veraison/go-cose"
)

// Unverified is text that has the form of an entry code. It tells nothing: its key identifier serves only to find a key.
type Unverified struct {
	kid KID
	msg *cose.Sign1Message
}

// Format writes a fixed text for every verb: what was read is shown to nobody.
func (Unverified) Format(f fmt.State, _ rune) { io.WriteString(f, "unverified entry code") }

// Parse decides whether text is an entry code at all, before any cryptography. Text is taken as it stands: terminators
// and symbology prefixes are the reader's to strip. The error wraps [ErrNotACode].
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
		return Unverified{}, fmt.Errorf("%w: %w", ErrNotACode, err)
	}
	kid, msg, err := parseSign1(raw)
	if err != nil {
		return Unverified{}, fmt.Errorf("%w: %w", ErrNotACode, err)
	}
	return Unverified{kid: kid, msg: msg}, nil
}

// IssuerKey is one signing key of an issuer. A code is genuine only if it was issued within the key's time.
type IssuerKey struct {
	Issuer    string            // short name, must equal the code's iss claim
	Public    ed25519.PublicKey // 32 bytes, a point of the curve that is not of small order; not to be changed
	NotBefore time.Time         // first moment of issue, inclusive
	NotAfter  time.Time         // last moment of issue, inclusive
}

// Keyring finds the key with which a code claims to be signed. It vouches for the key: [Unverified.Verify] checks its
// length only.
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
		return Code{}, ErrUnknownIssuer
	}
	if !verifySign1(u.msg, key.Public) {
		return Code{}, fmt.Errorf("%w: signature does not match key %v of %s", ErrNotGenuine, u.kid, key.Issuer)
	}
	code, err := readClaims(u.msg.Payload)
	if err != nil {
		return Code{}, fmt.Errorf("%w: signed with key %v of %s: %w", ErrNotGenuine, u.kid, key.Issuer, err)
	}
	if code.issuer != key.Issuer {
		return Code{}, fmt.Errorf("%w: iss is not %s, whose key %v signed it", ErrNotGenuine, key.Issuer, u.kid)
	}
	if at := code.IssuedAt(); at.Before(key.NotBefore) || at.After(key.NotAfter) {
		return Code{}, fmt.Errorf("%w: issued outside the validity of key %v of %s", ErrNotGenuine, u.kid, key.Issuer)
	}
	return code, nil
}

var (
	errClaims      = errors.New("claims are not a map of exactly iss, exp, iat and cti")
	errClaimIssuer = errors.New("iss is not 1 to 16 of a-z, 0-9 and '-'")
	errClaimCTI    = fmt.Errorf("cti is not %d bytes long", CTISize)
	errClaimIat    = errors.New("iat is out of range")
	errClaimExp    = fmt.Errorf("exp is not iat + %d", lifetimeSeconds)
	errClaimsForm  = errors.New("claims are not deterministically encoded")
)

// readClaims reads a payload whose signature is good. Its errors name the rule broken, never a value.
func readClaims(payload []byte) (Code, error) {
	var c claims
	if err := claimsMode.Unmarshal(payload, &c); err != nil {
		return Code{}, errClaims
	}
	switch {
	case !validIssuer(c.Issuer):
		return Code{}, errClaimIssuer
	case len(c.CTI) != CTISize:
		return Code{}, errClaimCTI
	case c.Iat <= 0 || c.Iat > maxTime:
		return Code{}, errClaimIat
	case c.Exp != c.Iat+lifetimeSeconds:
		return Code{}, errClaimExp
	}
	if again, err := encMode.Marshal(c); err != nil || !bytes.Equal(again, payload) {
		return Code{}, errClaimsForm
	}
	cti := CTI(c.CTI)
	return Code{issuer: c.Issuer, iat: c.Iat, cti: &cti}, nil
}
