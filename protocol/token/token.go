// Package token reads, checks and makes entry codes: "KIP1:" and the base45 form (RFC 9285) of a tagged COSE_Sign1
// (RFC 9052) over a CWT (RFC 8392), signed with Ed25519. SPEC.md specifies the format. Reading is three steps with three
// results: [Parse] (is it a code?), [Unverified.Verify] (is it genuine?), [Code.Fresh] (is it of now?). No field of a code
// can be read before it is verified.
package token

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/kipass/kipass/protocol/day"
)

const (
	// Prefix begins the text of every code; it names the version of the format.
	Prefix = "KIP1:"
	// MaxText is the longest text in bytes that is looked at.
	MaxText = 512
	// Lifetime is how long a code is valid: exp − iat.
	Lifetime = day.CodeLifetime
	// MaxSkew is the widest allowance for clocks that a code is judged with.
	MaxSkew = day.MaxSkew
	// CTISize is the length of the cti claim in bytes: a 12-byte nonce, a 16-byte sealed holder reference, a 16-byte tag.
	CTISize = 44

	lifetimeSeconds = int64(Lifetime / time.Second)
	// maxTime, the last second of the year 9999, keeps every arithmetic on times far from overflow.
	maxTime = 253402300799
)

// The three ways of failing to be an admissible code before freshness is asked. Errors of [Parse] and
// [Unverified.Verify] wrap exactly one of them; none carries a byte of what was read, unless a trusted key signed it
// (then the key's identifier and issuer, as the keyring knows them).
var (
	ErrNotACode      = errors.New("not an entry code")
	ErrUnknownIssuer = errors.New("signed by a key that is not in the trust list")
	ErrNotGenuine    = errors.New("entry code is not genuine")
)

// KID is a COSE key identifier (RFC 9052 section 3.1): the first 8 bytes of SHA-256 of an issuer's raw Ed25519 public key.
type KID [8]byte

// KeyID returns the identifier of pub.
func KeyID(pub ed25519.PublicKey) KID {
	h := sha256.Sum256(pub)
	return KID(h[:8])
}

// String returns 16 hexadecimal digits.
func (k KID) String() string { return hex.EncodeToString(k[:]) }

// CTI is a code's identity (RFC 8392 section 3.1.7): the encrypted holder reference. It is a visitor's secret: it prints
// and logs as a placeholder, whatever the verb, and refuses to become JSON or other text. (Package fmt calls no methods
// on unexported fields: do not print a struct that holds a CTI in one.)
type CTI [CTISize]byte

const redacted = "cti(redacted)"

// String returns the placeholder.
func (CTI) String() string { return redacted }

// Format writes the placeholder for every verb.
func (CTI) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// LogValue is the placeholder.
func (CTI) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText always fails, so that JSON neither shows a cti nor stores a placeholder in its place.
func (CTI) MarshalText() ([]byte, error) {
	return nil, errors.New("a cti is a visitor's secret and has no text form: store its bytes")
}

// Code is a genuine code: its signature and claims have been checked. The zero Code is no code. Two Codes are the same
// code if their [Code.CTI] are equal; == is not defined on them.
type Code struct {
	issuer string
	iat    int64
	cti    *CTI // a pointer, so that %v of a struct around the Code, which calls none of its methods, shows an address
}

// Issuer returns the short name of the issuer, 1 to 16 of a–z, 0–9 and '-'.
func (c Code) Issuer() string { return c.issuer }

// IssuedAt returns the time of issue, in whole seconds.
func (c Code) IssuedAt() time.Time { return time.Unix(c.iat, 0) }

// CTI returns the encrypted holder reference.
func (c Code) CTI() CTI {
	if c.cti == nil {
		return CTI{}
	}
	return *c.cti
}

// LogValue leaves the cti out.
func (c Code) LogValue() slog.Value {
	return slog.GroupValue(slog.String("issuer", c.issuer), slog.Int64("iat", c.iat))
}

// String returns the issuer and the time of issue only.
func (c Code) String() string { return fmt.Sprintf("code of %s issued at %d", c.issuer, c.iat) }

// Format writes String for every verb, so that none shows the cti.
func (c Code) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// Freshness is how a genuine code stands to a moment.
type Freshness uint8

const (
	Expired     Freshness = iota // later than exp + δ
	Fresh                        // iat − δ ≤ now ≤ exp + δ
	NotYetValid                  // earlier than iat − δ
)

// String returns "expired", "fresh" or "not-yet-valid".
func (f Freshness) String() string {
	switch f {
	case Fresh:
		return "fresh"
	case NotYetValid:
		return "not-yet-valid"
	default:
		return "expired"
	}
}

// Fresh judges the code at now with a skew allowance δ of skew, 0 or more, which depends on how well the gate knows the
// time; more than MaxSkew counts as that. Both ends of the span are fresh.
func (c Code) Fresh(now time.Time, skew time.Duration) Freshness {
	iat, skew := c.IssuedAt(), min(skew, MaxSkew)
	switch {
	case now.Before(iat.Add(-skew)):
		return NotYetValid
	case now.After(iat.Add(Lifetime + skew)):
		return Expired
	default:
		return Fresh
	}
}

// claims is the CWT payload: exactly these, in deterministic order, each present.
type claims struct {
	Issuer string `cbor:"1,keyasint"`
	Exp    int64  `cbor:"4,keyasint"`
	Iat    int64  `cbor:"6,keyasint"`
	CTI    []byte `cbor:"7,keyasint"`
}

var (
	encMode    = must(encOptions().EncMode())
	claimsMode = must(decOptions(4).DecMode()) // 4 is the least the decoder offers; claims need 1
	listMode   = must(decOptions(5).DecMode()) // list, issuers, issuer, keys, key
)

// encOptions is deterministic encoding (RFC 8949 section 4.2.1); an empty list is an empty array, never null.
func encOptions() cbor.EncOptions {
	opts := cbor.CoreDetEncOptions()
	opts.NilContainers = cbor.NilContainerAsEmpty
	return opts
}

func decOptions(levels int) cbor.DecOptions {
	return cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		MaxNestedLevels: levels, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// validIssuer holds the rule for issuer short names.
func validIssuer(s string) bool {
	if len(s) == 0 || len(s) > 16 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
