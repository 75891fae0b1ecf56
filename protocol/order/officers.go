package order

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/kipass/kipass/internal/durable"
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

const keyPrefix = "kipass-officer:"

// FormatPublicKey returns the text form of an officer's public key: "kipass-officer:" and 43 characters of unpadded
// URL-safe base64 (RFC 4648 section 5).
func FormatPublicKey(pub ed25519.PublicKey) string {
	return keyPrefix + base64.RawURLEncoding.EncodeToString(pub)
}

// ParsePublicKey reads what FormatPublicKey wrote.
func ParsePublicKey(s string) (ed25519.PublicKey, error) {
	text, ok := strings.CutPrefix(s, keyPrefix)
	if !ok {
		return nil, fmt.Errorf("officer's public key must begin with %q", keyPrefix)
	}
	pub, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(pub) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("officer's public key must be %q and 43 characters of base64url", keyPrefix)
	}
	if err := publickey.Check(pub); err != nil {
		return nil, fmt.Errorf("officer's key: %w", err)
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

// ReadOfficers reads the register in the file path. A missing file is a register without officers.
func ReadOfficers(path string) (Officers, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Officers{}, nil
	}
	if err != nil {
		return Officers{}, fmt.Errorf("reading the register of officers: %w", err)
	}
	r, err := ParseOfficers(text)
	if err != nil {
		return Officers{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return r, nil
}

// AppendOfficer adds an officer to the register in the file path and returns after it is durable. The whole register is
// checked as it would be afterwards; nothing is written if the check fails.
func AppendOfficer(path string, o Officer) error {
	if err := checkOfficer(o.Name); err != nil {
		return err // it would be read back as something else than one name
	}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the register of officers: %w", err)
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	text = fmt.Appendf(text, "%s %s\n", o.Name, FormatPublicKey(o.Public))
	if _, err := ParseOfficers(text); err != nil {
		return err
	}
	if err := (durable.Disk{}).Replace(path, text, 0o600); err != nil {
		return fmt.Errorf("writing the register of officers: %w", err)
	}
	return nil
}
