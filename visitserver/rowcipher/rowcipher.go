// Package rowcipher seals visits into rows of the store, under the key of their day. A row is found by a blind index and
// reads under that key alone: once the secret of the day is destroyed, see package daykey, it tells nothing.
package rowcipher

import (
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

// Record is what a row holds: a visit, and how it came to be here.
type Record struct {
	visit.Visit
	Received time.Time       // by the server's clock, in whole milliseconds
	Journal  visit.JournalID // of the gate
	// Apart says that the code stands at the facility at another time too, which came first: such a row has a blind index
	// of its own, made of the time as well, so that neither hides the other.
	Apart bool
}

// headSize is what stands before the visit in a row's plaintext: time of receipt (milliseconds since 1970) and journal.
const headSize = 8 + 16

// Key seals the visits of one day and names their codes. It is safe for concurrent use.
type Key struct {
	aead  cipher.AEAD
	blind sync.Pool // of hash.Hash: an HMAC is costly to begin
	works sync.Pool // of *sealWork
}

// sealWork is what sealing a row needs, kept for the next one.
type sealWork struct{ plain, about []byte }

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
	return &Key{
		aead:  aead,
		blind: sync.Pool{New: func() any { return hmac.New(sha256.New, blind) }},
		works: sync.Pool{New: func() any { return &sealWork{} }},
	}, nil
}

// Blind returns the blind index of an issuer's code: HMAC-SHA-256 (RFC 2104) cut to 16 bytes, over the issuer's name
// with a length byte and the cti.
func (k *Key) Blind(issuer string, cti visit.CTI) store.Blind { return k.digest(issuer, cti, nil) }

// BlindApart returns the blind index of a record that is [Record.Apart]: as Blind, with the gate's time after the cti, in
// milliseconds since 1970.
func (k *Key) BlindApart(v visit.Visit) store.Blind {
	return k.digest(v.Issuer, v.CTI, binary.BigEndian.AppendUint64(nil, uint64(v.At.UnixMilli())))
}

func (k *Key) digest(issuer string, cti visit.CTI, more []byte) store.Blind {
	h := k.blind.Get().(hash.Hash)
	defer k.blind.Put(h)
	h.Reset()
	var b [1 + 16 + visit.CTISize]byte
	n := append(append(append(b[:0], byte(len(issuer))), issuer...), cti[:]...)
	h.Write(n)
	h.Write(more)
	var sum [sha256.Size]byte
	return store.Blind(h.Sum(sum[:0]))
}

// Seal returns a row: time of receipt, journal and the visit's canonical encoding under AES-256-GCM with a random nonce,
// bound to facility, gate, time of placing and blind index.
func (k *Key) Seal(f visit.Facility, g visit.Gate, at time.Time, r Record) (store.Row, error) {
	w := k.works.Get().(*sealWork)
	defer k.works.Put(w)
	record, err := r.Visit.Marshal()
	if err != nil {
		return store.Row{}, fmt.Errorf("encoding a visit: %w", err)
	}
	plain := binary.BigEndian.AppendUint64(w.plain[:0], uint64(r.Received.UnixMilli()))
	plain = append(append(plain, r.Journal[:]...), record...)
	row := store.Row{At: at.Truncate(time.Millisecond), Blind: k.Blind(r.Issuer, r.CTI), Gate: g}
	if r.Apart {
		row.Blind = k.BlindApart(r.Visit)
	}
	w.plain, w.about = plain, associatedData(w.about[:0], f, row)
	row.Sealed = k.aead.Seal(make([]byte, 0, len(plain)+k.aead.Overhead()), nil, plain, w.about)
	return row, nil
}

// Open returns the record of a row. Errors wrap [ErrDamaged].
func (k *Key) Open(f visit.Facility, row store.Row) (Record, error) {
	plain, err := k.aead.Open(nil, nil, row.Sealed, associatedData(make([]byte, 0, 96), f, row))
	if err != nil || len(plain) < headSize {
		return Record{}, fmt.Errorf("stored visit: %w", ErrDamaged)
	}
	v, err := visit.Unmarshal(plain[headSize:])
	if err != nil {
		return Record{}, fmt.Errorf("stored visit: %w: %v", ErrDamaged, err)
	}
	r := Record{
		Visit: v, Received: time.UnixMilli(int64(binary.BigEndian.Uint64(plain))).UTC(), Journal: visit.JournalID(plain[8:headSize]),
	}
	if r.Apart = row.Blind == k.BlindApart(v); !r.Apart && row.Blind != k.Blind(v.Issuer, v.CTI) {
		return Record{}, fmt.Errorf("stored visit: %w: it stands under another code's index", ErrDamaged)
	}
	return r, nil
}

// associatedData, added to b, binds a ciphertext to where it stands: facility, gate, time and blind index, each length known.
func associatedData(b []byte, f visit.Facility, r store.Row) []byte {
	b = append(append(b, byte(len(f))), f...)
	b = append(append(b, byte(len(r.Gate))), r.Gate...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.At.UnixMilli()))
	return append(b, r.Blind[:]...)
}
