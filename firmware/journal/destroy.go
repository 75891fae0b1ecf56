package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kipass/kipass/protocol/day"
)

// Destroy removes undelivered and quarantined records whose retention has ended at now ([day.OldestKept]) and returns
// how many; they are counted in [Stats] for good. The caller must trust now. If it fails, what was removed before is
// removed and counted.
//
// Records read while the clock was not trusted have no day that could be relied on: their retention is counted from the
// day of the first Destroy after them, so none goes early. Undelivered records go in the order of their sequences, so one
// behind others that are to be kept longer waits for them.
func (j *Journal) Destroy(now time.Time) (int, error) {
	n := 0
	today, oldest := day.Of(now), day.OldestKept(now)
	err := j.do(func() error {
		if err := j.repair(); err != nil {
			return err
		}
		due, err := j.due(today, oldest)
		if err != nil || !due {
			return err
		}
		n, err = j.purge(today, oldest)
		return err
	})
	for more := err == nil; more; {
		var some int
		if some, more, err = j.destroySome(oldest); err != nil {
			break
		}
		n += some
	}
	if n > 0 {
		j.log.Warn("records destroyed undelivered at the end of their retention", "count", n, "oldest_kept", oldest.String())
	}
	if err != nil {
		return n, fmt.Errorf("destroying records of before %v: %w", oldest, err)
	}
	return n, nil
}

// destroySome destroys up to maxMoved undelivered records of before oldest, and returns how many and whether there may be
// more. Delivered ones lie before them in the file and go first.
func (j *Journal) destroySome(oldest day.Day) (n int, more bool, err error) {
	err = j.do(func() error {
		if err := j.repair(); err != nil {
			return err
		}
		end, err := j.expired(oldest)
		if err != nil || end <= j.state.tail.Seq {
			return err
		}
		if more, err = j.dropSome(math.MaxUint64); err != nil || more {
			return err
		}
		next, before := j.state, j.state.destroyed
		end = min(end, next.tail.Seq+maxMoved)
		err = j.update(&next, func(tx *bolt.Tx) error {
			err := next.pass(tx, end, func(uint64, []byte) error { next.destroyed++; return nil })
			if err != nil {
				return err
			}
			return next.cut(tx, end)
		})
		if err == nil {
			n, more = int(next.destroyed-before), true
		}
		return err
	})
	return n, more, err
}

// due tells whether an epoch has no proven day yet, or one before oldest.
func (j *Journal) due(today, oldest day.Day) (due bool, err error) {
	err = j.eachEpoch(func(e epoch, _ uint64) { due = due || unproven(e, today) || e.day < oldest })
	return due, err
}

// read is view for the holder of writeSem.
func (j *Journal) read(f func(*bolt.Tx) error) error {
	err := catchPanic(func() error { return j.db.View(f) })
	if err != nil && errors.Is(err, errDamaged) {
		j.distrust(err)
	}
	return err
}

// unproven tells whether the day of an epoch cannot be relied on: the clock was not trusted, or it was ahead.
func unproven(e epoch, today day.Day) bool { return !e.proven || e.day > today }

// purge gives epochs without a proven day the day of today, and destroys quarantined records of before oldest. It
// returns how many.
func (j *Journal) purge(today, oldest day.Day) (int, error) {
	next := j.state
	n := 0
	err := j.update(&next, func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketEpochs)
		var all []epoch
		err := b.ForEach(func(k, v []byte) error {
			e, err := decodeEpoch(k, v)
			all = append(all, e)
			return err
		})
		if err != nil {
			return err
		}
		for i, e := range all {
			if !unproven(e, today) {
				continue
			}
			e.day, e.proven = today, true
			all[i] = e
			if err := b.Put(seqKey(e.First), e.encode()); err != nil {
				return err
			}
		}
		quarantine := tx.Bucket(bucketQuarantine)
		var gone [][]byte
		err = quarantine.ForEach(func(k, _ []byte) error {
			if e, ok := epochOf(all, binary.BigEndian.Uint64(k)); ok && e.day < oldest {
				gone = append(gone, append([]byte(nil), k...))
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, k := range gone {
			if err := quarantine.Delete(k); err != nil {
				return err
			}
		}
		n = len(gone)
		next.purged += uint64(n)
		next.removed += uint64(n)
		return dropEpochs(tx, next.base.Seq)
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// expired returns the sequence up to which undelivered records are of before oldest.
func (j *Journal) expired(oldest day.Day) (end uint64, err error) {
	end = j.state.head.Seq
	err = j.eachEpoch(func(e epoch, last uint64) {
		if e.day >= oldest && last > j.state.tail.Seq && e.First <= end {
			end = e.First - 1
		}
	})
	return end, err
}

// eachEpoch is the package's function of that name for the holder of writeSem.
func (j *Journal) eachEpoch(show func(e epoch, last uint64)) error {
	return j.read(func(tx *bolt.Tx) error { return eachEpoch(tx, show) })
}

func epochOf(all []epoch, seq uint64) (epoch, bool) {
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].First <= seq {
			return all[i], true
		}
	}
	return epoch{}, false
}
