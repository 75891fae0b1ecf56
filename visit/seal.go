package visit

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
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

// SealKeyID is the first 8 bytes of SHA-256 of a visit server's sealing public key.
type SealKeyID [8]byte

func (id SealKeyID) String() string { return hex.EncodeToString(id[:]) }

// EpochID is the first 16 bytes of SHA-256 of an epoch's encapsulated key, so it vouches for it.
type EpochID [16]byte

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

// ID names the key.
func (k SealPublicKey) ID() SealKeyID { return k.id }

// Bytes returns the KEM's serialisation of the key.
func (k SealPublicKey) Bytes() []byte { return k.key.Bytes() }

// SealPrivateKey is the visit server's private sealing key. It never leaves the server.
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

// ParseSealPrivateKey reads a private key as Bytes returned it.
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

// Bytes returns the KEM's serialisation of the private key.
func (k SealPrivateKey) Bytes() ([]byte, error) { return k.key.Bytes() }

// Public returns the public half.
func (k SealPrivateKey) Public() SealPublicKey {
	return SealPublicKey{key: k.key.PublicKey(), id: k.id}
}

// Sealer seals the records of one epoch. It holds the epoch key in memory; it cannot open what it has sealed by any
// method, and nothing it stores can. A Sealer may be used by one goroutine at a time.
type Sealer struct {
	place recordPlace
	epoch Epoch
	aead  cipher.AEAD
}

// NewSealer begins an epoch whose first record will have sequence first.
func NewSealer(server SealPublicKey, f Facility, g Gate, first uint64) (*Sealer, error) {
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
	return &Sealer{place: newRecordPlace(f, g, epoch.ID()), epoch: epoch, aead: gcm}, nil
}

// Epoch returns the public half, to be stored before the first record.
func (s *Sealer) Epoch() Epoch { return s.epoch }

// Seal appends the sealed form of a record to dst. A sequence may be sealed once only in an epoch: it is the nonce.
func (s *Sealer) Seal(dst []byte, seq uint64, record []byte) []byte {
	nonce, aad := s.place.at(seq)
	return s.aead.Seal(dst, nonce, record, aad)
}

// Opener opens the records of one epoch, on the server. It is safe for concurrent use.
type Opener struct {
	place recordPlace
	aead  cipher.AEAD
}

// NewOpener recovers the epoch key (one HPKE decapsulation, about 0.2 ms: keep it).
func NewOpener(k SealPrivateKey, f Facility, g Gate, e Epoch) (*Opener, error) {
	if e.Key != k.id {
		return nil, fmt.Errorf("epoch %v was made for sealing key %v, not %v: %w", e.ID(), e.Key, k.id, ErrUnsealable)
	}
	_, kdf, aead := suite()
	r, err := hpke.NewRecipient(e.Enc, k.key, kdf, aead, []byte(epochInfo))
	if err != nil {
		return nil, fmt.Errorf("epoch %v: %v: %w", e.ID(), err, ErrUnsealable)
	}
	key, err := r.Export(recordContext, 32)
	if err != nil {
		return nil, fmt.Errorf("epoch %v: %v: %w", e.ID(), err, ErrUnsealable)
	}
	gcm, err := recordAEAD(key)
	if err != nil {
		return nil, err
	}
	return &Opener{place: newRecordPlace(f, g, e.ID()), aead: gcm}, nil
}

// Open returns the visit sealed under seq. Errors wrap [ErrUnsealable] or [ErrRecord].
func (o *Opener) Open(seq uint64, sealed []byte) (Visit, error) {
	nonce, aad := o.place.clone().at(seq)
	record, err := o.aead.Open(nil, nonce, sealed, aad)
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

// recordPlace is the additional data of a record: label, facility and gate (each with a length byte), epoch, and the
// sequence in its last 8 bytes.
type recordPlace []byte

func newRecordPlace(f Facility, g Gate, e EpochID) recordPlace {
	p := make([]byte, 0, len(recordLabel)+1+len(f)+1+len(g)+len(e)+8)
	p = append(p, recordLabel...)
	p = append(append(p, byte(len(f))), f...)
	p = append(append(p, byte(len(g))), g...)
	p = append(p, e[:]...)
	return append(p, make([]byte, 8)...)
}

func (p recordPlace) clone() recordPlace { return append(recordPlace(nil), p...) }

// at returns nonce and additional data for seq; both are overwritten by the next call.
func (p recordPlace) at(seq uint64) (nonce, aad []byte) {
	binary.BigEndian.PutUint64(p[len(p)-8:], seq)
	var n [12]byte
	binary.BigEndian.PutUint64(n[4:], seq)
	return n[:], p
}
