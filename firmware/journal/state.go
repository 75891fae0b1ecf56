package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

// format is the version of the file's layout: buckets, keys and the encoding of their values.
const format = 2

var (
	bucketMeta       = []byte("meta")       // keyState, keyPlace
	bucketEpochs     = []byte("epochs")     // first sequence → epoch
	bucketRecords    = []byte("records")    // sequence → sealed record, nothing else
	bucketSettled    = []byte("settled")    // tail at a time → that time
	bucketQuarantine = []byte("quarantine") // sequence → reason and sealed record

	keyState = []byte("state")
	keyPlace = []byte("place")
)

func seqKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// Position is a place in a journal: a sequence and the chain value after its record.
type Position struct {
	Seq   uint64
	Chain visit.Chain
}

func (m Position) next(r visit.Sealed) Position { return Position{Seq: r.Seq, Chain: m.Chain.Next(r)} }

// state is what changes with every commit. It is written in the commit it describes, so file and state cannot differ.
type state struct {
	id        visit.JournalID
	base      Position // before the oldest record in the file
	tail      Position // before the oldest undelivered record; those between base and tail are kept for a server that asks again
	head      Position // at the newest record
	delivered uint64   // records settled as stored by the server
	refused   uint64   // records moved to quarantine
	destroyed uint64   // undelivered records destroyed after the retention
	purged    uint64   // quarantined records destroyed after the retention
	removed   uint64   // records taken out of the file since it was written anew: free pages may still show them
	floor     int64    // time that had passed for certain, seconds since 1970, 0 for none
}

func (s state) backlog() uint64     { return s.head.Seq - s.tail.Seq }
func (s state) kept() uint64        { return s.tail.Seq - s.base.Seq }
func (s state) quarantined() uint64 { return s.refused - s.purged }

func (s state) floorTime() time.Time {
	if s.floor == 0 {
		return time.Time{}
	}
	return time.Unix(s.floor, 0)
}

const stateSize = 4 + 16 + 3*(8+32) + 6*8 + 4

func (s state) encode() []byte {
	b := make([]byte, 0, stateSize)
	b = binary.BigEndian.AppendUint32(b, format)
	b = append(b, s.id[:]...)
	for _, m := range []Position{s.base, s.tail, s.head} {
		b = binary.BigEndian.AppendUint64(b, m.Seq)
		b = append(b, m.Chain[:]...)
	}
	for _, n := range []uint64{s.delivered, s.refused, s.destroyed, s.purged, s.removed, uint64(s.floor)} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return appendSum(b)
}

func decodeState(b []byte) (state, error) {
	if len(b) < 4 {
		return state{}, damagef("no state")
	}
	if v := binary.BigEndian.Uint32(b); v > format && v < 1000 && sumHolds(b) {
		return state{}, fmt.Errorf("journal has format %d, this program reads format %d: install the newer program", v, format)
	}
	if len(b) != stateSize || !sumHolds(b) || binary.BigEndian.Uint32(b) != format {
		return state{}, damagef("state of %d bytes does not match its checksum", len(b))
	}
	var s state
	b = b[4:]
	b = b[copy(s.id[:], b):]
	for _, m := range []*Position{&s.base, &s.tail, &s.head} {
		m.Seq = binary.BigEndian.Uint64(b)
		b = b[8:]
		b = b[copy(m.Chain[:], b):]
	}
	var floor uint64
	for _, n := range []*uint64{&s.delivered, &s.refused, &s.destroyed, &s.purged, &s.removed, &floor} {
		*n = binary.BigEndian.Uint64(b)
		b = b[8:]
	}
	s.floor = int64(floor)
	if s.base.Seq > s.tail.Seq || s.tail.Seq > s.head.Seq || s.purged > s.refused || s.delivered+s.refused+s.destroyed != s.tail.Seq {
		return state{}, damagef("counters contradict each other")
	}
	return s, nil
}

// epoch is a sealing epoch with what the gate needs to keep or destroy its records.
type epoch struct {
	visit.Epoch
	day    day.Day   // Seoul day of its records
	proven bool      // the clock was trusted when they were read, so day is true
	began  time.Time // time of its first record, in whole seconds
}

const epochSize = 4 + 1 + 8 + len(visit.SealKeyID{}) + visit.EncSize + 4

func (e epoch) encode() []byte {
	b := make([]byte, 0, epochSize)
	b = binary.BigEndian.AppendUint32(b, uint32(e.day))
	if e.proven {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(e.began.Unix()))
	b = append(b, e.Key[:]...)
	b = append(b, e.Enc...)
	return appendSum(b)
}

func decodeEpoch(k, b []byte) (epoch, error) {
	if len(k) != 8 || len(b) != epochSize || !sumHolds(b) {
		return epoch{}, damagef("epoch of %d bytes does not match its checksum", len(b))
	}
	e := epoch{
		day:    day.Day(int32(binary.BigEndian.Uint32(b))),
		proven: b[4] == 1,
		began:  time.Unix(int64(binary.BigEndian.Uint64(b[5:])), 0),
	}
	e.First = binary.BigEndian.Uint64(k)
	b = b[13:]
	b = b[copy(e.Key[:], b):]
	e.Enc = append([]byte(nil), b[:visit.EncSize]...)
	return e, nil
}

// encodeTime writes whole seconds since 1970 and a checksum.
func encodeTime(t time.Time) []byte {
	return appendSum(binary.BigEndian.AppendUint64(make([]byte, 0, 12), uint64(t.Unix())))
}

func decodeTime(b []byte) (time.Time, error) {
	if len(b) != 12 || !sumHolds(b) {
		return time.Time{}, damagef("time of %d bytes does not match its checksum", len(b))
	}
	return time.Unix(int64(binary.BigEndian.Uint64(b)), 0), nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendSum(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func sumHolds(b []byte) bool {
	n := len(b) - 4
	return n > 0 && crc32.Checksum(b[:n], castagnoli) == binary.BigEndian.Uint32(b[n:])
}
