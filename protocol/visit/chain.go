package visit

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Chain is the running SHA-256 over a journal's sealed records. Gate and server each keep the newest value; a
// mismatch shows a clone, a roll-back or a loss. It costs no space in a record.
type Chain [32]byte

const (
	chainLabel = "kipass journal chain v1"
	// MaxSealed is the longest sealed record in bytes.
	MaxSealed = 256
)

// Genesis returns the chain value before the first record of a journal.
func Genesis(id JournalID) Chain {
	return sha256.Sum256(append([]byte(chainLabel), id[:]...))
}

// Next returns the chain value after the record.
func (c Chain) Next(r Sealed) Chain {
	b := make([]byte, 0, len(c)+8+MaxSealed)
	b = append(b, c[:]...)
	b = binary.BigEndian.AppendUint64(b, r.Seq)
	b = append(b, r.Data...)
	return sha256.Sum256(b)
}

// Sealed is one sealed record with its place in the journal.
type Sealed struct {
	_    struct{} `cbor:",toarray"`
	Seq  uint64   // from 1, without gaps as long as nothing was destroyed undelivered
	Data []byte   // SealOverhead longer than the record, at most MaxSealed
}

// WellFormed reports whether a record is of a size that sealing makes. One that is not is refused for itself: it is no
// reason to refuse a segment.
func (r Sealed) WellFormed() bool { return len(r.Data) > SealOverhead && len(r.Data) <= MaxSealed }

// Segment is a run of a journal's oldest undelivered records, with what is needed to open and to place them.
type Segment struct {
	Journal JournalID `cbor:"1,keyasint"`
	Prev    Chain     `cbor:"2,keyasint"` // chain value before Records[0]
	Epochs  []Epoch   `cbor:"3,keyasint"` // ascending First
	Records []Sealed  `cbor:"4,keyasint"` // consecutive sequences
}

// Head returns the chain value after the last record.
func (s Segment) Head() Chain {
	c := s.Prev
	for _, r := range s.Records {
		c = c.Next(r)
	}
	return c
}

// Through returns the sequence of the last record, 0 for an empty segment.
func (s Segment) Through() uint64 {
	if len(s.Records) == 0 {
		return 0
	}
	return s.Records[len(s.Records)-1].Seq
}

// EpochOf returns the epoch in which seq was sealed, false if the segment begins later.
func (s Segment) EpochOf(seq uint64) (Epoch, bool) {
	for i := len(s.Epochs) - 1; i >= 0; i-- {
		if s.Epochs[i].First <= seq {
			return s.Epochs[i], true
		}
	}
	return Epoch{}, false
}

// Check tells whether the segment is one: whether each record has its place, so that a settlement can speak of it alone.
// It says nothing of a single record or epoch, which may be damaged without those beside it, and knows nothing of the
// journal before it: whether Prev is right is the server's to see. The error says which part is wrong.
func (s Segment) Check() error {
	for i, e := range s.Epochs {
		if i > 0 && e.First <= s.Epochs[i-1].First {
			return fmt.Errorf("epoch %d begins at %d, not after %d", i, e.First, s.Epochs[i-1].First)
		}
	}
	for i, r := range s.Records {
		if r.Seq == 0 || i > 0 && r.Seq != s.Records[i-1].Seq+1 {
			return fmt.Errorf("record %d of the segment has sequence %d out of order", i, r.Seq)
		}
	}
	return nil
}

// Refusal says why the server will never store a record. The record goes to quarantine on the gate.
type Refusal struct {
	Seq    uint64 `cbor:"1,keyasint"`
	Reason string `cbor:"2,keyasint"` // stable code: "unsealable", "malformed", "too-old", "unknown-key"
}

// Settlement says what has become of a journal's records: all up to Through are durably stored by the server, except
// those refused for good.
type Settlement struct {
	Journal JournalID `cbor:"1,keyasint"`
	Through uint64    `cbor:"2,keyasint"`
	Refused []Refusal `cbor:"3,keyasint,omitempty"`
}
