package order

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kipass/kipass/protocol/publickey"
)

// KeyID is a COSE key identifier: the first 8 bytes of SHA-256 of a raw Ed25519 public key.
type KeyID [8]byte

// KeyIDOf returns the identifier of pub.
func KeyIDOf(pub ed25519.PublicKey) KeyID {
	h := sha256.Sum256(pub)
	return KeyID(h[:8])
}

// String returns 16 hexadecimal digits.
func (k KeyID) String() string { return hex.EncodeToString(k[:]) }

// Officer is one named officer of the health authority.
type Officer struct {
	Name   string
	Public ed25519.PublicKey
}

// Officers is the register of officers a side obeys. The zero value knows nobody. It is not changed after it is read.
type Officers struct{ byKey map[KeyID]Officer }

// ByKey returns the officer with that key.
func (r Officers) ByKey(id KeyID) (Officer, bool) {
	o, ok := r.byKey[id]
	return o, ok
}

// Len returns how many officers there are.
func (r Officers) Len() int { return len(r.byKey) }

// All returns the officers by name.
func (r Officers) All() []Officer {
	return slices.SortedFunc(maps.Values(r.byKey), func(a, b Officer) int { return strings.Compare(a.Name, b.Name) })
}

// String returns the register in the form that ParseOfficers reads.
func (r Officers) String() string {
	var text strings.Builder
	for _, o := range r.All() {
		text.WriteString(o.line())
	}
	return text.String()
}

// line is an officer's line in a register.
func (o Officer) line() string { return o.Name + " " + FormatPublicKey(o.Public) + "\n" }

// Keys returns each officer's key identifier by name, as an audit log tells of the register.
func (r Officers) Keys() map[string]string {
	keys := map[string]string{}
	for id, o := range r.byKey {
		keys[o.Name] = id.String()
	}
	return keys
}

// NewOfficers returns a register of these officers. A name or a key that appears twice is refused: one person must not be
// able to act as two.
func NewOfficers(officers ...Officer) (Officers, error) {
	r := Officers{byKey: map[KeyID]Officer{}}
	names := map[string]bool{}
	for _, o := range officers {
		if err := checkOfficer(o.Name); err != nil {
			return Officers{}, err
		}
		if err := publickey.Check(o.Public); err != nil {
			return Officers{}, fmt.Errorf("officer %s: %w", o.Name, err)
		}
		id := KeyIDOf(o.Public)
		if _, twice := r.byKey[id]; twice || names[o.Name] {
			return Officers{}, fmt.Errorf("officer %s: name or key %v appears twice in the register", o.Name, id)
		}
		names[o.Name] = true
		r.byKey[id] = o
	}
	return r, nil
}

// The two kinds of public keys that people pass on have different beginnings, so that one is not taken for the other.
const (
	officerPrefix = "kipass-officer:"
	rootPrefix    = "kipass-authority:"
)

// FormatPublicKey returns the text form of an officer's public key: "kipass-officer:" and 43 characters of unpadded
// URL-safe base64 (RFC 4648 section 5).
func FormatPublicKey(pub ed25519.PublicKey) string { return formatKey(officerPrefix, pub) }

// ParsePublicKey reads what FormatPublicKey wrote.
func ParsePublicKey(s string) (ed25519.PublicKey, error) {
	return parseKey("officer's public key", officerPrefix, s)
}

// FormatRoot returns the text form of an authority's root key, "kipass-authority:" and as FormatPublicKey.
func FormatRoot(pub ed25519.PublicKey) string { return formatKey(rootPrefix, pub) }

// ParseRoot reads what FormatRoot wrote.
func ParseRoot(s string) (ed25519.PublicKey, error) {
	return parseKey("authority's root key", rootPrefix, s)
}

func formatKey(prefix string, pub ed25519.PublicKey) string {
	return prefix + base64.RawURLEncoding.EncodeToString(pub)
}

func parseKey(what, prefix, s string) (ed25519.PublicKey, error) {
	text, ok := strings.CutPrefix(s, prefix)
	if !ok {
		return nil, fmt.Errorf("%s must begin with %q", what, prefix)
	}
	pub, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(pub) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%s must be %q and 43 characters of base64url", what, prefix)
	}
	if err := publickey.Check(pub); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return pub, nil
}

// ParseOfficers reads a register: one officer a line, name and public key separated by one space; empty lines and lines
// that begin with '#' are skipped.
func ParseOfficers(text []byte) (Officers, error) {
	var all []Officer
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, key, ok := strings.Cut(line, " ")
		if !ok {
			return Officers{}, fmt.Errorf("line %d: want a name, a space and a public key", n)
		}
		pub, err := ParsePublicKey(key)
		if err != nil {
			return Officers{}, fmt.Errorf("line %d: %w", n, err)
		}
		all = append(all, Officer{Name: name, Public: pub})
	}
	if err := lines.Err(); err != nil {
		return Officers{}, fmt.Errorf("register of officers: %w", err)
	}
	return NewOfficers(all...)
}
