package journal

import (
	"encoding/binary"
	"fmt"
	"math"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"github.com/kipass/kipass/protocol/visit"
)

// Ledger is the device's account of every sequence it ever gave: up to Tail.Seq delivered, refused or destroyed, from
// there to Head.Seq pending. Held against the server's account it shows any loss.
type Ledger struct {
	Journal     visit.JournalID
	Facility    visit.Facility
	Gate        visit.Gate
	Tail, Head  Position
	Kept        uint64 // delivered or refused records before the tail that are kept for a server that asks again
	Delivered   uint64 // settled as stored
	Refused     uint64 // moved to quarantine, ever
	Destroyed   uint64 // undelivered at the end of their retention
	Purged      uint64 // quarantined at the end of their retention
	Pending     visit.Segment
	Quarantined []Quarantined
}

// Quarantined is a record the server refused for good, with the epoch it was sealed in.
type Quarantined struct {
	visit.Sealed
	Reason string
	Epoch  visit.Epoch
}

// Check tells whether the account is complete in itself: every sequence in one place, the chain unbroken from tail to
// head, every record within an epoch.
func (l Ledger) Check() error {
	if l.Delivered+l.Refused+l.Destroyed != l.Tail.Seq {
		return fmt.Errorf("ledger of %v: %d delivered, %d refused and %d destroyed are not the %d that left",
			l.Journal, l.Delivered, l.Refused, l.Destroyed, l.Tail.Seq)
	}
	if n := uint64(len(l.Pending.Records)); l.Tail.Seq+n != l.Head.Seq {
		return fmt.Errorf("ledger of %v: %d records are pending after %d, the newest is %d", l.Journal, n, l.Tail.Seq, l.Head.Seq)
	}
	if n := uint64(len(l.Quarantined)); l.Refused-l.Purged != n {
		return fmt.Errorf("ledger of %v: %d records are in quarantine, want %d", l.Journal, n, l.Refused-l.Purged)
	}
	if l.Pending.Journal != l.Journal || l.Pending.Prev != l.Tail.Chain || l.Pending.Head() != l.Head.Chain {
		return fmt.Errorf("ledger of %v: the chain does not lead from %d to %d", l.Journal, l.Tail.Seq, l.Head.Seq)
	}
	if len(l.Pending.Records) > 0 && l.Pending.Records[0].Seq != l.Tail.Seq+1 {
		return fmt.Errorf("ledger of %v: the oldest pending record is %d after %d", l.Journal, l.Pending.Records[0].Seq, l.Tail.Seq)
	}
	if err := l.Pending.Check(); err != nil {
		return fmt.Errorf("ledger of %v: %w", l.Journal, err)
	}
	return nil
}

// Ledger returns the journal's account. It holds all pending records in memory.
func (j *Journal) Ledger() (Ledger, error) {
	var l Ledger
	if err := j.view(func(tx *bolt.Tx) (err error) {
		l, err = readLedger(tx)
		return err
	}); err != nil {
		return Ledger{}, err
	}
	return l, nil
}

// Contents returns the account of the journal in dir while no gate has it open. It changes nothing there but the lock.
func Contents(dir string) (Ledger, error) {
	lock, err := lockDir(dir, false)
	if err != nil {
		return Ledger{}, err
	}
	defer func() { _ = lock.Close() }()
	path := filepath.Join(dir, fileName)
	if _, err := checkFile(path); err != nil {
		return Ledger{}, fmt.Errorf("reading %s: %w", path, err)
	}
	var l Ledger
	err = catchPanic(func() error {
		db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: lockTimeout})
		if err != nil {
			return err
		}
		defer func() { _ = db.Close() }()
		return db.View(func(tx *bolt.Tx) error {
			if _, err := readContent(tx); err != nil {
				return err
			}
			l, err = readLedger(tx)
			return err
		})
	})
	if err != nil {
		return Ledger{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return l, nil
}

func readLedger(tx *bolt.Tx) (Ledger, error) {
	meta := tx.Bucket(bucketMeta)
	s, err := decodeState(meta.Get(keyState))
	if err != nil {
		return Ledger{}, err
	}
	l := Ledger{
		Journal: s.id, Tail: s.tail, Head: s.head, Kept: s.kept(),
		Delivered: s.delivered, Refused: s.refused, Destroyed: s.destroyed, Purged: s.purged,
		Pending: visit.Segment{Journal: s.id, Prev: s.tail.Chain},
	}
	if l.Facility, l.Gate, err = decodePlace(meta.Get(keyPlace)); err != nil {
		return Ledger{}, err
	}
	if err := collect(&l.Pending, tx, s.tail.Seq+1, math.MaxInt, math.MaxInt); err != nil {
		return Ledger{}, err
	}
	var epochs []epoch
	if err := tx.Bucket(bucketEpochs).ForEach(func(k, v []byte) error {
		e, err := decodeEpoch(k, v)
		epochs = append(epochs, e)
		return err
	}); err != nil {
		return Ledger{}, err
	}
	err = tx.Bucket(bucketQuarantine).ForEach(func(k, v []byte) error {
		reason, data, err := decodeRefused(v)
		if err != nil {
			return err
		}
		q := Quarantined{Reason: reason, Sealed: visit.Sealed{Seq: binary.BigEndian.Uint64(k), Data: append([]byte(nil), data...)}}
		e, ok := epochOf(epochs, q.Seq)
		if !ok {
			return damagef("quarantined record %d has no epoch", q.Seq)
		}
		q.Epoch = e.Epoch
		l.Quarantined = append(l.Quarantined, q)
		return nil
	})
	if err != nil {
		return Ledger{}, err
	}
	return l, nil
}
