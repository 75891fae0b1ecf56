package journal

import (
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/kipass/kipass/protocol/visit"
)

// content is what a check of a whole journal finds, the records themselves left out.
type content struct {
	facility visit.Facility
	gate     visit.Gate
	state    state
	altered  string // records whose bytes do not match the chain, in words
}

// readContent checks everything a journal holds. Errors wrap errDamaged where the file cannot go on being used. A record
// whose bytes have changed does not condemn the others: the chain is computed anew over what is there, so that the
// server, which will refuse that one record, can follow it.
func readContent(tx *bolt.Tx) (content, error) {
	var c content
	var err error
	meta := tx.Bucket(bucketMeta)
	if c.state, err = decodeState(meta.Get(keyState)); err != nil {
		return content{}, err
	}
	if c.facility, c.gate, err = decodePlace(meta.Get(keyPlace)); err != nil {
		return content{}, err
	}
	first, err := checkEpochs(tx)
	if err != nil {
		return content{}, err
	}
	if c.altered, err = checkQuarantine(tx, c.state, first); err != nil {
		return content{}, err
	}
	at, tail := c.state.base, c.state.tail
	cur := tx.Bucket(bucketRecords).Cursor()
	for k, v := cur.First(); k != nil; k, v = cur.Next() {
		if len(k) != 8 || binary.BigEndian.Uint64(k) != at.Seq+1 {
			return content{}, damagef("record %d is missing", at.Seq+1)
		}
		if len(v) <= visit.SealOverhead || len(v) > visit.MaxSealed {
			return content{}, damagef("record %d is %d bytes long", at.Seq+1, len(v))
		}
		if at.Seq+1 < first {
			return content{}, damagef("record %d has no epoch", at.Seq+1)
		}
		if at = at.next(visit.Sealed{Seq: at.Seq + 1, Data: v}); at.Seq == tail.Seq && at.Chain != tail.Chain {
			c.altered = fmt.Sprintf("the bytes of a delivered record between %d and %d have changed on the disk", c.state.base.Seq+1, at.Seq)
			c.state.base, at = tail, tail // what cannot be proved cannot be delivered again
		}
	}
	if at.Seq != c.state.head.Seq {
		return content{}, damagef("records end at %d, want %d", at.Seq, c.state.head.Seq)
	}
	if at.Chain != c.state.head.Chain {
		c.altered = fmt.Sprintf("the bytes of a record between %d and %d have changed on the disk", tail.Seq+1, at.Seq)
		c.state.head = at
	}
	return c, checkSettled(tx, c.state)
}

func checkSettled(tx *bolt.Tx, s state) error {
	return tx.Bucket(bucketSettled).ForEach(func(k, v []byte) error {
		_, err := decodeTime(v)
		if err == nil && (len(k) != 8 || binary.BigEndian.Uint64(k) > s.tail.Seq) {
			err = damagef("a time of delivery is out of place")
		}
		return err
	})
}

// amend makes the file as c says, of which something was altered.
func (c content) amend(tx *bolt.Tx) error {
	if _, err := deleteKeys(tx.Bucket(bucketRecords), 0, c.state.base.Seq); err != nil {
		return err
	}
	return tx.Bucket(bucketMeta).Put(keyState, c.state.encode())
}

// checkEpochs returns the first sequence that has an epoch, or the highest possible one if there is none.
func checkEpochs(tx *bolt.Tx) (uint64, error) {
	first := ^uint64(0)
	err := tx.Bucket(bucketEpochs).ForEach(func(k, v []byte) error {
		e, err := decodeEpoch(k, v)
		first = min(first, e.First)
		return err
	})
	return first, err
}

// checkQuarantine also returns, in words, a record whose bytes have changed.
func checkQuarantine(tx *bolt.Tx, s state, first uint64) (altered string, err error) {
	n := uint64(0)
	err = tx.Bucket(bucketQuarantine).ForEach(func(k, v []byte) error {
		n++
		if len(k) != 8 || binary.BigEndian.Uint64(k) > s.tail.Seq || binary.BigEndian.Uint64(k) < first {
			return damagef("a quarantined record is out of place")
		}
		if !sumHolds(v) {
			altered = fmt.Sprintf("the bytes of quarantined record %d have changed on the disk", binary.BigEndian.Uint64(k))
		}
		_, _, err := decodeRefused(v)
		return err
	})
	if err == nil && n != s.quarantined() {
		err = damagef("%d records in quarantine, want %d", n, s.quarantined())
	}
	return altered, err
}

// maxReason is how many bytes of a reason are kept.
const maxReason = 64

// encodeRefused writes a reason after its length byte, the sealed record, and a checksum.
func encodeRefused(reason string, data []byte) []byte {
	reason = reason[:min(len(reason), maxReason)]
	return appendSum(append(append([]byte{byte(len(reason))}, reason...), data...))
}

func decodeRefused(b []byte) (reason string, data []byte, err error) {
	r, data, ok := cutField(b)
	if n := len(data) - 4; ok && n > visit.SealOverhead && n <= visit.MaxSealed {
		return string(r), data[:n], nil
	}
	return "", nil, damagef("a quarantined record has %d bytes", len(b))
}

// encodePlace writes facility and gate, each after a length byte.
func encodePlace(f visit.Facility, g visit.Gate) []byte {
	b := append([]byte{byte(len(f))}, f...)
	return append(append(b, byte(len(g))), g...)
}

func decodePlace(b []byte) (visit.Facility, visit.Gate, error) {
	f, rest, ok := cutField(b)
	g, rest, ok2 := cutField(rest)
	if !ok || !ok2 || len(rest) > 0 {
		return "", "", damagef("no place")
	}
	return visit.Facility(f), visit.Gate(g), nil
}

// cutField returns the bytes after a length byte and what follows them.
func cutField(b []byte) (field, rest []byte, ok bool) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return nil, nil, false
	}
	n := 1 + int(b[0])
	return b[1:n], b[n:], true
}
