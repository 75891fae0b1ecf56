package visit

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
)

// Sealing, in one paragraph (SPEC.md has it whole). For each epoch the gate makes one HPKE encapsulation (RFC 9180,
// base mode; KEM MLKEM768-X25519 "X-Wing" of draft-ietf-hpke-pq, HKDF-SHA256, AES-256-GCM) to the visit server's
// public key, keeps only the encapsulated key and exports an epoch key that lives in memory alone. Each record is then
// AES-256-GCM under the epoch key, with the sequence number as nonce and the place, epoch and sequence as additional data.

const (
	// EncSize is the length in bytes of an HPKE encapsulated key of the suite.
	EncSize = 1120
	// SealOverhead is how many bytes sealing adds to a record: the GCM tag.
	SealOverhead = 16

	epochInfo     = "kipass visit epoch v1"
	recordContext = "kipass visit record key v1"
	recordLabel   = "kipass visit record v1"
)

// EpochID is the first 16 bytes of SHA-256 of an epoch's encapsulated key, so it vouches for it.
type EpochID [16]byte

// String returns 32 hexadecimal digits.
func (id EpochID) String() string { return hex.EncodeToString(id[:]) }

// Epoch is the public half of a sealing epoch: what the gate stores and sends so that the server can open its records.
type Epoch struct {
	First uint64    `cbor:"1,keyasint"` // sequence of the first record sealed in it; it lasts to the next epoch's First
	Key   SealKeyID `cbor:"2,keyasint"` // which of the server's keys it was made for
	Enc   []byte    `cbor:"3,keyasint"` // HPKE encapsulated key, EncSize bytes
}

// ID returns the epoch's name, derived from Enc.
func (e Epoch) ID() EpochID {
	h := sha256.Sum256(e.Enc)
	return EpochID(h[:16])
}

// ErrUnsealable is wrapped by every error of opening a record or an epoch: wrong key, wrong place, or damaged bytes.
var ErrUnsealable = errors.New("cannot be unsealed")

func suite() (hpke.KEM, hpke.KDF, hpke.AEAD) {
	return hpke.MLKEM768X25519(), hpke.HKDFSHA256(), hpke.AES256GCM()
}

// Sealer seals the records of one epoch. It holds the epoch key in memory; it cannot open what it has sealed by any
// method, and nothing it stores can. A Sealer may be used by one goroutine at a time.
type Sealer struct {
	place recordPlace
	epoch Epoch
	aead  cipher.AEAD
	next  uint64 // lowest sequence that has not been used as a nonce
}

// NewSealer begins an epoch whose first record will have sequence first. The error says what is wrong with key or place.
func NewSealer(server SealPublicKey, f Facility, g Gate, first uint64) (*Sealer, error) {
	if server.key == nil {
		return nil, errors.New("beginning a sealing epoch: no sealing key of the visit server")
	}
	if err := checkPlace(f, g); err != nil {
		return nil, fmt.Errorf("beginning a sealing epoch: %w", err)
	}
	_, kdf, aead := suite()
	enc, sender, err := hpke.NewSender(server.key, kdf, aead, []byte(epochInfo))
	if err != nil {
		return nil, fmt.Errorf("beginning a sealing epoch: %w", err)
	}
	key, err := sender.Export(recordContext, 32)
	if err != nil {
		return nil, fmt.Errorf("beginning a sealing epoch: %w", err)
	}
	epoch := Epoch{First: first, Key: server.id, Enc: enc}
	gcm, err := recordAEAD(key)
	if err != nil {
		return nil, err
	}
	return &Sealer{place: newRecordPlace(f, g, epoch.ID()), epoch: epoch, aead: gcm, next: first}, nil
}

// Epoch returns the public half, to be stored before the first record.
func (s *Sealer) Epoch() Epoch { return s.epoch }

// Seal appends the sealed form of a record to dst. The sequence is the nonce, so each may be sealed once only in an epoch:
// sequences rise from the epoch's First, and Seal panics when one does not. After a write that failed, and so may have
// reached the disk, a sequence is used again only in a new epoch.
func (s *Sealer) Seal(dst []byte, seq uint64, record []byte) []byte {
	if seq < s.next {
		panic(fmt.Sprintf("visit: sequence %d sealed in an epoch that has come to %d: a new epoch is needed to use it again", seq, s.next))
	}
	s.next = seq + 1
	s.place.at(seq)
	return s.aead.Seal(dst, s.place.nonce, record, s.place.aad)
}

// Opener opens the records of one epoch, on the server. It is safe for concurrent use.
type Opener struct {
	aead  cipher.AEAD
	works sync.Pool // of *openWork
}

// openWork is what opening a record needs, kept for the next one.
type openWork struct {
	place  recordPlace
	record []byte
}

// NewOpener recovers the epoch key (one HPKE decapsulation, about 0.2 ms: keep it). The place is the one the terminal's
// certificate names. Errors wrap [ErrUnsealable].
func NewOpener(k SealPrivateKey, f Facility, g Gate, e Epoch) (*Opener, error) {
	if k.key == nil {
		return nil, fmt.Errorf("epoch %v: no private sealing key: %w", e.ID(), ErrUnsealable)
	}
	if err := checkPlace(f, g); err != nil {
		return nil, fmt.Errorf("epoch %v: %w: %w", e.ID(), err, ErrUnsealable)
	}
	if e.Key != k.id {
		return nil, fmt.Errorf("epoch %v was made for sealing key %v, not %v: %w", e.ID(), e.Key, k.id, ErrUnsealable)
	}
	_, kdf, aead := suite()
	r, err := hpke.NewRecipient(e.Enc, k.key, kdf, aead, []byte(epochInfo))
	if err != nil {
		return nil, fmt.Errorf("epoch %v: %w: %w", e.ID(), err, ErrUnsealable)
	}
	key, err := r.Export(recordContext, 32)
	if err != nil {
		return nil, fmt.Errorf("epoch %v: %w: %w", e.ID(), err, ErrUnsealable)
	}
	gcm, err := recordAEAD(key)
	if err != nil {
		return nil, err
	}
	place := newRecordPlace(f, g, e.ID())
	return &Opener{aead: gcm, works: sync.Pool{New: func() any {
		return &openWork{place: place.clone(), record: make([]byte, 0, MaxSealed)}
	}}}, nil
}

// Open returns the visit sealed under seq. Errors wrap [ErrUnsealable] or [ErrRecord].
func (o *Opener) Open(seq uint64, sealed []byte) (Visit, error) {
	w := o.works.Get().(*openWork)
	defer o.works.Put(w)
	w.place.at(seq)
	record, err := o.aead.Open(w.record[:0], w.place.nonce, sealed, w.place.aad)
	if err != nil {
		return Visit{}, fmt.Errorf("record %d: %w", seq, ErrUnsealable)
	}
	v, err := Unmarshal(record)
	if err != nil {
		return Visit{}, fmt.Errorf("record %d: %w", seq, err)
	}
	return v, nil
}

func recordAEAD(key []byte) (cipher.AEAD, error) {
	defer clear(key) // the cipher has its own schedule
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("record key: %w", err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("record key: %w", err)
	}
	return gcm, nil
}

// recordPlace makes nonce and additional data of a record. The additional data is label, facility and gate (each behind a
// length byte), epoch, and the sequence in its last 8 bytes; the nonce is 4 zero bytes and the sequence.
type recordPlace struct {
	aad   []byte
	nonce []byte
}

func newRecordPlace(f Facility, g Gate, e EpochID) recordPlace {
	p := make([]byte, 0, len(recordLabel)+1+len(f)+1+len(g)+len(e)+8)
	p = append(p, recordLabel...)
	p = append(append(p, byte(len(f))), f...)
	p = append(append(p, byte(len(g))), g...)
	p = append(p, e[:]...)
	return recordPlace{aad: append(p, make([]byte, 8)...), nonce: make([]byte, 12)}
}

func (p recordPlace) clone() recordPlace {
	return recordPlace{aad: bytes.Clone(p.aad), nonce: bytes.Clone(p.nonce)}
}

// at sets the sequence; both parts are overwritten by the next call.
func (p recordPlace) at(seq uint64) {
	binary.BigEndian.PutUint64(p.aad[len(p.aad)-8:], seq)
	binary.BigEndian.PutUint64(p.nonce[4:], seq)
}

// checkPlace refuses names that are none; their length bytes could not tell them apart.
func checkPlace(f Facility, g Gate) error {
	if _, err := ParseFacility(string(f)); err != nil {
		return err
	}
	_, err := ParseGate(string(g))
	return err
}
