package journal

import (
	"encoding/binary"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/kipass/kipass/protocol/visit"
)

// What a record and an epoch take in a message beyond their data: CBOR heads and sequence.
const (
	recordExtra = 16
	epochExtra  = 40
)

// view reads the file without writeSem. If the file could not be opened again after a fault, it is tried once more; a fault
// while reading has the file checked.
func (j *Journal) view(read func(*bolt.Tx) error) error {
	j.swap.RLock()
	absent := j.db == nil
	j.swap.RUnlock()
	if absent {
		err := j.do(func() error {
			if j.db == nil {
				return j.reload(false)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("reading journal: %w", err)
		}
	}
	j.swap.RLock()
	db := j.db
	if db == nil {
		j.swap.RUnlock()
		return fmt.Errorf("reading journal: %w", errNoFile)
	}
	err := catchPanic(func() error { return db.View(read) })
	j.swap.RUnlock()
	if err == nil {
		return nil
	}
	if errors.Is(err, errDamaged) {
		_ = j.do(func() error {
			if j.db == db {
				j.distrust(err)
			}
			return nil
		})
	}
	return fmt.Errorf("reading journal: %w", err)
}

// Peek returns the oldest undelivered records with what the server needs to open them: at most maxRecords, and not more
// than about maxBytes of message, but at least one record if there is any. It removes nothing.
func (j *Journal) Peek(maxRecords, maxBytes int) (visit.Segment, error) {
	var s visit.Segment
	err := j.view(func(tx *bolt.Tx) error {
		st, err := decodeState(tx.Bucket(bucketMeta).Get(keyState))
		if err != nil {
			return err
		}
		s = visit.Segment{Journal: st.id, Prev: st.tail.Chain}
		return collect(&s, tx, st.tail.Seq+1, maxRecords, maxBytes)
	})
	if err != nil {
		return visit.Segment{}, err
	}
	return s, nil
}

// collect adds records from seq on, and their epochs, to s.
func collect(s *visit.Segment, tx *bolt.Tx, seq uint64, maxRecords, maxBytes int) error {
	epochs := tx.Bucket(bucketEpochs).Cursor()
	records := tx.Bucket(bucketRecords).Cursor()
	var ek, ev []byte // the next epoch to come
	for k, v := records.Seek(seqKey(seq)); k != nil && len(s.Records) < maxRecords; k, v = records.Next() {
		if binary.BigEndian.Uint64(k) != seq {
			return damagef("record %d is missing", seq)
		}
		maxBytes -= len(v) + recordExtra
		if len(s.Records) == 0 {
			ek, ev = seekEpoch(epochs, seq)
		}
		if ek != nil && binary.BigEndian.Uint64(ek) <= seq {
			maxBytes -= visit.EncSize + epochExtra
		}
		if maxBytes < 0 && len(s.Records) > 0 {
			return nil
		}
		if ek != nil && binary.BigEndian.Uint64(ek) <= seq {
			e, err := decodeEpoch(ek, ev)
			if err != nil {
				return err
			}
			s.Epochs = append(s.Epochs, e.Epoch)
			ek, ev = epochs.Next()
		}
		s.Records = append(s.Records, visit.Sealed{Seq: seq, Data: append([]byte(nil), v...)})
		seq++
	}
	return nil
}

// seekEpoch moves the cursor to the epoch in which seq was sealed.
func seekEpoch(c *bolt.Cursor, seq uint64) (k, v []byte) {
	k, v = c.Seek(seqKey(seq))
	if k != nil && binary.BigEndian.Uint64(k) == seq {
		return k, v
	}
	if k == nil {
		return c.Last()
	}
	return c.Prev()
}
