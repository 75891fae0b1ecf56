package journal

import (
	"encoding/binary"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/kipass/kipass/protocol/visit"
)

// maxRemoved is how many records one commit removes, so that an append never waits for more.
const maxRemoved = 4096

// Settle removes, durably, the records that s says are stored, and moves those it says are refused to quarantine. Saying it
// again changes nothing. A settlement of another journal, beyond this one's head, or naming a refused record that it does
// not cover gives an error wrapping [ErrForeign] and changes nothing.
func (j *Journal) Settle(s visit.Settlement) error {
	refused := make(map[uint64]string, len(s.Refused))
	for _, r := range s.Refused {
		if r.Seq > s.Through {
			return fmt.Errorf("%w: it refuses record %d and covers records to %d", ErrForeign, r.Seq, s.Through)
		}
		refused[r.Seq] = r.Reason
	}
	for more := true; more; {
		err := j.do(func() error {
			if err := j.repair(); err != nil {
				return err
			}
			if s.Journal != j.state.id {
				return fmt.Errorf("%w: it is of journal %v, this is %v", ErrForeign, s.Journal, j.state.id)
			}
			if s.Through > j.state.head.Seq {
				return fmt.Errorf("%w: it covers records to %d, the newest is %d", ErrForeign, s.Through, j.state.head.Seq)
			}
			if s.Through <= j.state.tail.Seq {
				more = false
				return nil
			}
			through := min(s.Through, j.state.tail.Seq+maxRemoved)
			more = through < s.Through
			return j.remove(through, func(tx *bolt.Tx, next *state, seq uint64, data []byte) error {
				reason, ok := refused[seq]
				if !ok {
					next.delivered++
					return nil
				}
				next.refused++
				return tx.Bucket(bucketQuarantine).Put(seqKey(seq), encodeRefused(reason, data))
			})
		})
		if err != nil {
			return fmt.Errorf("settling: %w", err)
		}
	}
	j.compact()
	return nil
}

// compact gives free space back if that takes no longer than an append may wait. A failure is the next commit's concern.
func (j *Journal) compact() {
	err := j.do(func() error {
		if j.suspect == nil && j.wasteful(compactLive) {
			return j.rewrite()
		}
		return nil
	})
	if err != nil && !errors.Is(err, ErrClosed) {
		j.log.Warn("journal not compacted", "error", err)
	}
}

// remove takes the records up to through out of the journal in one commit; each is first shown to account, which says in
// next what became of it.
func (j *Journal) remove(through uint64, account func(tx *bolt.Tx, next *state, seq uint64, data []byte) error) error {
	next := j.state
	return j.update(&next, func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketRecords)
		var keys [][]byte
		c := b.Cursor()
		for k, v := c.First(); k != nil && next.tail.Seq < through; k, v = c.Next() {
			seq := next.tail.Seq + 1
			if binary.BigEndian.Uint64(k) != seq {
				return damagef("record %d is missing", seq)
			}
			if err := account(tx, &next, seq, v); err != nil {
				return err
			}
			next.tail = next.tail.next(visit.Sealed{Seq: seq, Data: v})
			keys = append(keys, append([]byte(nil), k...))
		}
		for _, k := range keys {
			if err := b.Delete(k); err != nil {
				return err
			}
		}
		return dropEpochs(tx, next.tail.Seq)
	})
}

// dropEpochs removes the epochs that no record needs. The newest always stays: records may still be added to it.
func dropEpochs(tx *bolt.Tx, tail uint64) error {
	b := tx.Bucket(bucketEpochs)
	quarantine := tx.Bucket(bucketQuarantine).Cursor()
	var drop [][]byte
	c := b.Cursor()
	k, _ := c.First()
	for k != nil {
		next, _ := c.Next()
		if next == nil || binary.BigEndian.Uint64(next)-1 > tail {
			break
		}
		q, _ := quarantine.Seek(k)
		if q == nil || string(q) >= string(next) {
			drop = append(drop, append([]byte(nil), k...))
		}
		k = next
	}
	for _, k := range drop {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}
