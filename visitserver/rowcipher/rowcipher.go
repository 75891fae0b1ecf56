// Package rowcipher seals visits into rows of the store, under the key of their day. A row is found by a blind index and
// reads under that key alone: once the secret of the day is destroyed, see package daykey, it tells nothing.
package rowcipher

import (
	"bytes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"sync"
	"time"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/store"
)

// ErrDamaged is wrapped by errors about a row that does not open under its day's key.
var ErrDamaged = errors.New("does not open under this key")

const (
	sealLabel  = "kipass visit row seal v1"
	blindLabel = "kipass visit row index v1"
)

// Key seals the visits of one day and names their codes. It is safe for concurrent use.
type Key struct {
	aead  cipher.AEAD
	blind sync.Pool // of hash.Hash: an HMAC is costly to begin
}

// Derive returns the key of the day whose secret it is.
func Derive(s daykey.Secret) (*Key, error) {
	aead, err := s.AEAD(sealLabel)
	if err != nil {
		return nil, err
	}
	blind, err := s.Key(blindLabel)
	if err != nil {
		return nil, err
	}
	return &Key{aead: aead, blind: sync.Pool{New: func() any { return hmac.New(sha256.New, blind) }}}, nil
}

// Blind returns the blind index of an issuer's code: HMAC-SHA-256 (RFC 2104) cut to 16 bytes, over the issuer's name
// with a length byte and the cti.
func (k *Key) Blind(issuer string, cti visit.CTI) store.Blind {
	h := k.blind.Get().(hash.Hash)
	defer k.blind.Put(h)
	h.Reset()
	var b [1 + 16 + visit.CTISize]byte
	n := append(append(append(b[:0], byte(len(issuer))), issuer...), cti[:]...)
	h.Write(n)
	var sum [sha256.Size]byte
	return store.Blind(h.Sum(sum[:0]))
}

// Seal returns a row: the visit's canonical encoding under AES-256-GCM with a random nonce, bound to facility, gate,
// time of placing and blind index.
func (k *Key) Seal(f visit.Facility, g visit.Gate, at time.Time, v visit.Visit) (store.Row, error) {
	record, err := v.Marshal()
	if err != nil {
		return store.Row{}, fmt.Errorf("encoding a visit: %w", err)
	}
	row := store.Row{At: at.Truncate(time.Millisecond), Blind: k.Blind(v.Issuer, v.CTI), Gate: g}
	row.Sealed = k.aead.Seal(make([]byte, 0, len(record)+k.aead.Overhead()), nil, record, associatedData(f, row))
	return row, nil
}

// Open returns the visit of a row. Errors wrap [ErrDamaged].
func (k *Key) Open(f visit.Facility, row store.Row) (visit.Visit, error) {
	record, err := k.aead.Open(nil, nil, row.Sealed, associatedData(f, row))
	if err != nil {
		return visit.Visit{}, fmt.Errorf("stored visit: %w", ErrDamaged)
	}
	v, err := visit.Unmarshal(record)
	if err != nil {
		return visit.Visit{}, fmt.Errorf("stored visit: %w: %v", ErrDamaged, err)
	}
	if want := k.Blind(v.Issuer, v.CTI); !bytes.Equal(want[:], row.Blind[:]) {
		return visit.Visit{}, fmt.Errorf("stored visit: %w: it stands under another code's index", ErrDamaged)
	}
	return v, nil
}

// associatedData binds a ciphertext to where it stands: facility, gate, time and blind index, each length known.
func associatedData(f visit.Facility, r store.Row) []byte {
	b := make([]byte, 0, 96)
	b = append(append(b, byte(len(f))), f...)
	b = append(append(b, byte(len(r.Gate))), r.Gate...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.At.UnixMilli()))
	return append(b, r.Blind[:]...)
}
