package visit

import (
	"bytes"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

// SealKeyID is the first 8 bytes of SHA-256 of a visit server's sealing public key.
type SealKeyID [8]byte

// String returns 16 hexadecimal digits.
func (id SealKeyID) String() string { return hex.EncodeToString(id[:]) }

// ParseSealKeyID reads the form that String writes.
func ParseSealKeyID(s string) (SealKeyID, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(SealKeyID{}) {
		return SealKeyID{}, fmt.Errorf("name of a sealing key must be %d hexadecimal digits", 2*len(SealKeyID{}))
	}
	return SealKeyID(b), nil
}

// SealPublicKey is the visit server's public sealing key.
type SealPublicKey struct {
	key hpke.PublicKey
	id  SealKeyID
}

// ParseSealPublicKey reads a public key as the KEM serialises it (1,216 bytes).
func ParseSealPublicKey(b []byte) (SealPublicKey, error) {
	kem, _, _ := suite()
	key, err := kem.NewPublicKey(b)
	if err != nil {
		return SealPublicKey{}, fmt.Errorf("sealing public key of %d bytes: %w", len(b), err)
	}
	h := sha256.Sum256(b)
	return SealPublicKey{key: key, id: SealKeyID(h[:8])}, nil
}

// ID names the key; it is zero for the zero key, to which nothing can be sealed.
func (k SealPublicKey) ID() SealKeyID { return k.id }

// Bytes returns the KEM's serialisation of the key: 1,216 bytes.
func (k SealPublicKey) Bytes() []byte { return k.key.Bytes() }

// SealPrivateKey is the visit server's private sealing key. It never leaves the server; it prints as its name.
type SealPrivateKey struct {
	key hpke.PrivateKey
	id  SealKeyID
}

// GenerateSealKey makes a new key pair.
func GenerateSealKey() (SealPrivateKey, error) {
	kem, _, _ := suite()
	key, err := kem.GenerateKey()
	if err != nil {
		return SealPrivateKey{}, fmt.Errorf("generating sealing key: %w", err)
	}
	return newSealPrivateKey(key), nil
}

// ParseSealPrivateKey reads a private key of 32 bytes, as Bytes returned it. It keeps nothing of b.
func ParseSealPrivateKey(b []byte) (SealPrivateKey, error) {
	kem, _, _ := suite()
	key, err := kem.NewPrivateKey(b)
	if err != nil {
		return SealPrivateKey{}, fmt.Errorf("sealing private key of %d bytes: %w", len(b), err)
	}
	return newSealPrivateKey(key), nil
}

func newSealPrivateKey(key hpke.PrivateKey) SealPrivateKey {
	h := sha256.Sum256(key.PublicKey().Bytes())
	return SealPrivateKey{key: key, id: SealKeyID(h[:8])}
}

// ID names the key pair.
func (k SealPrivateKey) ID() SealKeyID { return k.id }

// Bytes returns the KEM's serialisation of the private key: 32 bytes, a copy.
func (k SealPrivateKey) Bytes() ([]byte, error) {
	b, err := k.key.Bytes()
	return bytes.Clone(b), err
}

// Public returns the public half.
func (k SealPrivateKey) Public() SealPublicKey {
	return SealPublicKey{key: k.key.PublicKey(), id: k.id}
}

// String returns the key's name.
func (k SealPrivateKey) String() string { return "sealing key " + k.id.String() }

// Format writes String for every verb.
func (k SealPrivateKey) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }
