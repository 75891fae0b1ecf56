package journal

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

// KeepDays is for how many whole days in Seoul delivered records stay in the file after the day on which they were seen to
// be delivered: a visit server that was restored from a backup gets back what it had acknowledged since.
const KeepDays = 3

const markEvery = time.Hour // between two times of delivery that are taken note of

// Resend makes records after the given sequence undelivered again, as far as they are still kept, and returns how many:
// the server has said that it does not hold them. Those it had refused leave quarantine with them. An error wraps
// [ErrForeign] if the journal is another one.
func (j *Journal) Resend(id visit.JournalID, after uint64) (n uint64, err error) {
	err = j.do(func() error {
		if err := j.repair(); err != nil {
			return err
		}
		if id != j.state.id {
			return fmt.Errorf("%w: asked for are records of journal %v, this is %v", ErrForeign, id, j.state.id)
		}
		after = max(after, j.state.base.Seq)
		if after >= j.state.tail.Seq {
			return nil
		}
		next := j.state
		n = next.tail.Seq - after
		return j.update(&next, func(tx *bolt.Tx) error { return next.back(tx, after) })
	})
	if err != nil {
		return 0, fmt.Errorf("resending: %w", err)
	}
	if n > 0 {
		j.notify()
	}
	return n, nil
}

// back moves the tail back to after, which is not before base.
func (s *state) back(tx *bolt.Tx, after uint64) error {
	at, err := walk(tx, s.base, after, func(uint64, []byte) error { return nil })
	if err != nil {
		return err
	}
	refused, err := deleteKeys(tx.Bucket(bucketQuarantine), after+1, s.tail.Seq)
	if err != nil {
		return err
	}
	if _, err := deleteKeys(tx.Bucket(bucketSettled), after+1, s.tail.Seq); err != nil {
		return err
	}
	s.refused -= refused
	s.delivered -= s.tail.Seq - after - refused
	s.tail = at
	return nil
}

// Oldest returns the sequence of the oldest record in the file, delivered or not; one above the head if there is none.
func (j *Journal) Oldest() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state.base.Seq + 1
}

// Forget removes delivered records from the file after [KeepDays], or earlier if their own retention has ended at now. The
// caller must trust now.
func (j *Journal) Forget(now time.Time) error {
	end := uint64(0)
	err := j.do(func() error {
		err := j.repair()
		if err == nil && j.state.kept() > 0 {
			err = j.mark(now)
		}
		if err == nil {
			end, err = j.outlived(now)
		}
		return err
	})
	if err == nil {
		err = j.drop(end)
	}
	if err != nil {
		return fmt.Errorf("removing delivered records: %w", err)
	}
	return nil
}

// runOut removes delivered records after [KeepDays] of running and one more, if the clock was not trusted in all that time:
// by then a wall clock would have ended them. They are safe with the server; it is what was not delivered that must not
// go by such a clock.
func (j *Journal) runOut(trusted bool) error {
	end := uint64(0)
	err := j.do(func() error {
		now := time.Now()
		if trusted || j.state.kept() == 0 {
			j.settledBy = nil
			return nil
		}
		if n := len(j.settledBy); n == 0 || now.Sub(j.settledBy[n-1].at) >= markEvery {
			j.settledBy = append(j.settledBy, mark{j.state.tail.Seq, now})
		}
		for len(j.settledBy) > 0 && now.Sub(j.settledBy[0].at) >= (KeepDays+1)*24*time.Hour {
			end, j.settledBy = j.settledBy[0].through, j.settledBy[1:]
		}
		return nil
	})
	if err == nil {
		err = j.drop(end)
	}
	if err != nil {
		return fmt.Errorf("removing delivered records: %w", err)
	}
	return nil
}

// mark takes note that what is settled was so at now, at most once an hour. A time noted by a clock that was ahead is
// corrected.
func (j *Journal) mark(now time.Time) error {
	marks, err := j.marks()
	if err != nil {
		return err
	}
	var put []mark
	latest := mark{}
	for _, m := range marks {
		if m.at.After(now) {
			m.at = now
			put = append(put, m)
		}
		latest = m
	}
	if latest.through < j.state.tail.Seq && now.Sub(latest.at) >= markEvery {
		put = append(put, mark{j.state.tail.Seq, now})
	}
	if len(put) == 0 {
		return nil
	}
	next := j.state
	return j.update(&next, func(tx *bolt.Tx) error {
		for _, m := range put {
			if err := tx.Bucket(bucketSettled).Put(seqKey(m.through), encodeTime(m.at)); err != nil {
				return err
			}
		}
		return nil
	})
}

// mark says when the records up to through were known to be settled.
type mark struct {
	through uint64
	at      time.Time
}

func (j *Journal) marks() (all []mark, err error) {
	err = j.read(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketSettled).ForEach(func(k, v []byte) error {
			at, err := decodeTime(v)
			all = append(all, mark{binary.BigEndian.Uint64(k), at})
			return err
		})
	})
	return all, err
}

// outlived returns the sequence up to which delivered records need not be kept at now.
func (j *Journal) outlived(now time.Time) (end uint64, err error) {
	marks, err := j.marks()
	for _, m := range marks {
		if day.Of(m.at)+KeepDays < day.Of(now) {
			end = m.through
		}
	}
	if err != nil {
		return 0, err
	}
	err = j.eachEpoch(func(e epoch, last uint64) {
		if e.proven && e.day < day.OldestKept(now) {
			end = max(end, min(last, j.state.tail.Seq))
		}
	})
	return end, err
}

// drop takes settled records up to through out of the file.
func (j *Journal) drop(through uint64) error {
	for more := true; more; {
		err := j.do(func() (err error) {
			if err = j.repair(); err == nil {
				more, err = j.dropSome(through)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// dropSome takes up to maxMoved settled records out of the file and reports whether there were any.
func (j *Journal) dropSome(through uint64) (some bool, err error) {
	end := min(through, j.state.tail.Seq, j.state.base.Seq+maxMoved)
	if end <= j.state.base.Seq {
		return false, nil
	}
	next := j.state
	return true, j.update(&next, func(tx *bolt.Tx) error { return next.cut(tx, end) })
}

// cut takes the records up to through, all of them settled, out of the file.
func (s *state) cut(tx *bolt.Tx, through uint64) error {
	at, err := walk(tx, s.base, through, func(uint64, []byte) error { return nil })
	if err != nil {
		return err
	}
	n, err := deleteKeys(tx.Bucket(bucketRecords), 0, at.Seq)
	if err != nil {
		return err
	}
	if _, err := deleteKeys(tx.Bucket(bucketSettled), 0, at.Seq); err != nil {
		return err
	}
	s.removed += n
	s.base = at
	return dropEpochs(tx, at.Seq)
}

// dropEpochs removes the epochs that no record needs. The newest always stays: records may still be added to it.
func dropEpochs(tx *bolt.Tx, base uint64) error {
	b := tx.Bucket(bucketEpochs)
	quarantine := tx.Bucket(bucketQuarantine).Cursor()
	var drop [][]byte
	c := b.Cursor()
	k, _ := c.First()
	for k != nil {
		next, _ := c.Next()
		if next == nil || binary.BigEndian.Uint64(next)-1 > base {
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

// deleteKeys deletes the sequences first to last of a bucket and returns how many there were.
func deleteKeys(b *bolt.Bucket, first, last uint64) (n uint64, err error) {
	var keys [][]byte
	c := b.Cursor()
	for k, _ := c.Seek(seqKey(first)); k != nil && binary.BigEndian.Uint64(k) <= last; k, _ = c.Next() {
		keys = append(keys, append([]byte(nil), k...))
	}
	for _, k := range keys {
		if err := b.Delete(k); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// makeRoom gives up what is kept for a server that asks again, since visitors are waiting. The caller holds writeSem.
func (j *Journal) makeRoom() error {
	j.log.Warn("delivered records are no longer kept, for want of space", "count", j.state.kept())
	for some := true; some; {
		var err error
		if some, err = j.dropSome(math.MaxUint64); err != nil {
			return err
		}
	}
	if err := j.rewrite(); err != nil { // the pages are free to be used again even so
		j.log.Warn("journal not compacted", "error", err)
	}
	return nil
}
