package journal

import (
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/kipass/kipass/protocol/visit"
)

// maxMoved is how many records one commit settles or removes, so that an append never waits for more.
const maxMoved = 4096

// Settle takes note, durably, that the records s covers are stored, and moves those it says are refused to quarantine. The
// records stay in the file for some days, see [Journal.Resend]. Saying it again changes nothing. A settlement of another
// journal, beyond this one's head, or naming a refused record that it does not cover gives an error wrapping [ErrForeign]
// and changes nothing.
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
			through := min(s.Through, j.state.tail.Seq+maxMoved)
			more = through < s.Through
			next := j.state
			return j.update(&next, func(tx *bolt.Tx) error {
				return next.pass(tx, through, func(seq uint64, data []byte) error {
					reason, ok := refused[seq]
					if !ok {
						next.delivered++
						return nil
					}
					next.refused++
					return tx.Bucket(bucketQuarantine).Put(seqKey(seq), encodeRefused(reason, data))
				})
			})
		})
		if err != nil {
			return fmt.Errorf("settling: %w", err)
		}
	}
	return nil
}

// pass moves the tail over the records up to through; account takes note of what became of each.
func (s *state) pass(tx *bolt.Tx, through uint64, account func(seq uint64, data []byte) error) error {
	at, err := walk(tx, s.tail, through, account)
	if err == nil {
		s.tail = at
	}
	return err
}

// walk shows the records after from, up to through, to each and returns the position it has come to.
func walk(tx *bolt.Tx, from Position, through uint64, each func(seq uint64, data []byte) error) (Position, error) {
	c := tx.Bucket(bucketRecords).Cursor()
	for k, v := c.Seek(seqKey(from.Seq + 1)); k != nil && from.Seq < through; k, v = c.Next() {
		seq := from.Seq + 1
		if binary.BigEndian.Uint64(k) != seq {
			return from, damagef("record %d is missing", seq)
		}
		if err := each(seq, v); err != nil {
			return from, err
		}
		from = from.next(visit.Sealed{Seq: seq, Data: v})
	}
	return from, nil
}
