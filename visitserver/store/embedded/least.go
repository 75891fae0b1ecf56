package embedded

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/store"
)

// A database whose log or manifest was cut short, or put back, opens like one to which no more was ever written, and removes
// what it has lost sight of. So the register keeps how many visits each day's database holds at least: what durable rows add to
// it goes there without a flush of its own, as what they carry does, so that a power cut makes the number too small and never too
// large. And the counts in a day's database are sums of what lies in it, so that none of them knows of rows that are gone.

// sums is what Pebble makes of numbers that are merged: their sum, over whatever files they lie in.
var sums = &pebble.Merger{
	Name: "kipass.sum",
	Merge: func(_, value []byte) (pebble.ValueMerger, error) {
		s := new(sum)
		return s, s.MergeNewer(value)
	},
}

type sum uint64

// MergeNewer implements pebble.ValueMerger.
func (s *sum) MergeNewer(value []byte) error {
	if len(value) != 8 {
		return fmt.Errorf("count of %d bytes is damaged", len(value))
	}
	*s += sum(binary.BigEndian.Uint64(value))
	return nil
}

// MergeOlder implements pebble.ValueMerger.
func (s *sum) MergeOlder(value []byte) error { return s.MergeNewer(value) }

// Finish implements pebble.ValueMerger.
func (s *sum) Finish(bool) ([]byte, io.Closer, error) {
	return binary.BigEndian.AppendUint64(nil, uint64(*s)), nil, nil
}

// leastOf is how many visits a day's database holds at least.
func (s *Store) leastOf(d day.Day) (uint64, error) {
	n, err := number(s.register, dayKey('n', d))
	if err != nil {
		return 0, fmt.Errorf("reading how many visits %v has: %w", d, err)
	}
	return n, nil
}

// visits is how many visits a day's database holds.
func visits(db *pebble.DB) (n uint64, err error) {
	err = eachCount(context.Background(), db, []byte{'c'}, nil, func(_ visit.Facility, c store.Count) { n += c.N })
	return n, err
}

// verify looks, without changing anything, whether a database holds as many visits as it must.
func (s *Store) verify(path string, least uint64) error {
	if least == 0 {
		return nil
	}
	opts := s.options(newFullDisk(), &atomic.Bool{})
	opts.ReadOnly = true
	db, err := pebble.Open(path, opts)
	if err != nil {
		return err
	}
	n, err := visits(db)
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if n < least {
		return missing(least - n)
	}
	return nil
}

func missing(n uint64) error { return fmt.Errorf("visits are missing, %d at least", n) }

// noteVisits adds to what the register knows of a day what its database, just opened, holds more: a power cut has taken it.
func (s *Store) noteVisits(d day.Day, db *pebble.DB, least uint64) error {
	n, err := visits(db)
	if err != nil {
		return err
	}
	if n > least {
		return s.register.Merge(dayKey('n', d), binary.BigEndian.AppendUint64(nil, n-least), pebble.NoSync)
	}
	return nil
}
