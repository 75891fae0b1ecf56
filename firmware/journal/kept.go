package journal

import (
	"encoding/binary"
	"math"
	"path/filepath"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kipass/kipass/protocol/day"
)

// What a [Term] can be about.
const (
	Undelivered = "undelivered"
	Refused     = "refused" // in quarantine
	Delivered   = "delivered"
	SetAside    = "set aside" // a file
)

// Term is the end of what is to be gone first of all that a journal keeps.
type Term struct {
	What string    // empty: nothing is kept, or its end is not known yet
	Due  time.Time // by the rules of [Journal.Destroy], [Journal.Forget] and files set aside
}

// earliest keeps the earlier of two terms.
func (t *Term) earliest(what string, due time.Time) {
	if t.What == "" || due.Before(t.Due) {
		*t = Term{what, due}
	}
}

// kept is what stands in the file: when the epoch of the oldest of it began, zero for nothing, and when the first is to go.
type kept struct {
	oldest time.Time
	term   Term
}

// lookKept finds out what is kept. A file that cannot be read now changes nothing of what was found before.
func (j *Journal) lookKept() {
	var k kept
	err := j.view(func(tx *bolt.Tx) (err error) {
		k, err = readKept(tx)
		return err
	})
	if err != nil {
		return
	}
	for _, path := range j.findAside() {
		if due, known := asideDue(path); known {
			k.term.earliest(SetAside, due)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.kept = k
}

// readKept reads the epochs of all that the file holds. Undelivered records go in the order of their sequences, so those of
// the first epoch say when the first of them is due. Until a confirmed clock has seen it, an epoch of an untrusted one is
// due by the day that its codes tell.
func readKept(tx *bolt.Tx) (k kept, err error) {
	s, err := decodeState(tx.Bucket(bucketMeta).Get(keyState))
	if err != nil {
		return kept{}, err
	}
	waiting := false // undelivered records of an earlier epoch
	quarantine := tx.Bucket(bucketQuarantine).Cursor()
	err = eachEpoch(tx, func(e epoch, last uint64) {
		last = min(last, s.head.Seq)
		due := e.day.DestroyAt()
		undelivered, delivered := last > s.tail.Seq, e.First <= s.tail.Seq && last > s.base.Seq
		q, _ := quarantine.Seek(seqKey(e.First))
		refused := q != nil && binary.BigEndian.Uint64(q) <= last
		if !undelivered && !delivered && !refused || last < e.First {
			return
		}
		if k.oldest.IsZero() || e.began.Before(k.oldest) {
			k.oldest = e.began
		}
		if undelivered && !waiting {
			k.term.earliest(Undelivered, due)
		}
		waiting = waiting || undelivered
		if refused {
			k.term.earliest(Refused, due)
		}
		if delivered && e.proven {
			k.term.earliest(Delivered, due)
		}
	})
	if err != nil {
		return kept{}, err
	}
	return k, tx.Bucket(bucketSettled).ForEach(func(seq, v []byte) error {
		at, err := decodeTime(v)
		if err == nil && binary.BigEndian.Uint64(seq) > s.base.Seq {
			k.term.earliest(Delivered, (day.Of(at) + KeepDays + 1).Start())
		}
		return err
	})
}

// asideDue returns when a file set aside is to be gone: by the day in its name or, until a confirmed clock has put one there,
// by the time at which it was set aside.
func asideDue(path string) (due time.Time, known bool) {
	stem, text, named := strings.Cut(strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), untilInfix)
	if named {
		until, err := day.Parse(text)
		return until.Start(), err == nil
	}
	at, err := time.Parse(asideFormat, stem[:min(len(stem), len(asideFormat))])
	return (day.Of(at) + day.RetentionDays + 1).Start(), err == nil
}

// eachEpoch shows each epoch with its last sequence, that of the newest being the highest possible.
func eachEpoch(tx *bolt.Tx, show func(e epoch, last uint64)) error {
	c := tx.Bucket(bucketEpochs).Cursor()
	k, v := c.First()
	for k != nil {
		e, err := decodeEpoch(k, v)
		if err != nil {
			return err
		}
		last := uint64(math.MaxUint64)
		if k, v = c.Next(); k != nil {
			last = binary.BigEndian.Uint64(k) - 1
		}
		show(e, last)
	}
	return nil
}
