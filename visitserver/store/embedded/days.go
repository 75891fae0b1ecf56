package embedded

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/store"
)

// Counts implements store.Counts.
func (s *Store) Counts(ctx context.Context, f visit.Facility, d day.Day) (counts []store.Count, err error) {
	err = s.eachCount(ctx, d, countPrefix(nil, f), func(_ visit.Facility, c store.Count) {
		counts = append(counts, c)
	})
	if err == nil {
		var aside []string
		if aside, err = s.asideOf(d); err == nil && len(aside) > 0 {
			err = errAside
		}
	}
	if s.unreadable(d, err) {
		var failed error
		counts, failed = s.countRows(ctx, f, d)
		err = errors.Join(markDamage(err), failed)
	}
	if err != nil {
		return counts, fmt.Errorf("reading counts of %s on %v: %w", f, d, err)
	}
	return counts, nil
}

// Stored implements store.Counts.
func (s *Store) Stored(ctx context.Context, f visit.Facility) (uint64, error) {
	days, err := s.Days(ctx)
	if err != nil {
		return 0, err
	}
	retired, err := s.Retired(ctx)
	if err != nil {
		return 0, err
	}
	all := map[day.Day]bool{}
	for _, d := range days {
		all[d] = true
	}
	for _, t := range retired {
		all[t.Day] = true
	}
	var n uint64
	for d := range all {
		err := s.eachCount(ctx, d, countPrefix(nil, f), func(_ visit.Facility, c store.Count) { n += c.N })
		if err != nil && !s.unreadable(d, err) {
			return 0, fmt.Errorf("summing up visits of %s: %w", f, err)
		}
	}
	return n, nil
}

// eachCount calls f for a day's counts whose key begins with prefix: from the day's own database, or from the
// register's once the day is retired.
func (s *Store) eachCount(ctx context.Context, d day.Day, prefix []byte, f func(visit.Facility, store.Count)) error {
	return s.use(d, false, func(db *pebble.DB) error {
		if db == nil {
			return eachCount(ctx, s.register, dayKey('c', d), prefix, f)
		}
		return eachCount(ctx, db, []byte{'c'}, prefix, f)
	})
}

func eachCount(ctx context.Context, db *pebble.DB, table, prefix []byte, f func(visit.Facility, store.Count)) error {
	lower := append(table[:len(table):len(table)], prefix...)
	return scan(ctx, db, lower, after(lower), func(k, v []byte) (bool, error) {
		facility, c, err := readCount(k[len(table):], v)
		if err != nil {
			return false, err
		}
		f(facility, c)
		return true, nil
	})
}

// Retire implements store.Days. Counts and tally go into the register in one commit: from then on they are the day's.
func (s *Store) Retire(ctx context.Context, d day.Day) (store.Tally, error) {
	p := s.dayOf(d)
	opened := s.openDay(d, p, false)
	if opened != nil && !damaged(opened) {
		return store.Tally{}, opened
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retired {
		v, err := get(s.register, dayKey('d', d))
		if err != nil {
			return store.Tally{}, fmt.Errorf("reading the tally of %v: %w", d, err)
		}
		return readTally(d, v)
	}
	b := s.register.NewBatch()
	defer b.Close()
	tally, err := sumUp(ctx, d, p.db, b)
	if err != nil {
		return store.Tally{}, fmt.Errorf("summing %v up: %w", d, err)
	}
	aside, err := s.asideOf(d)
	if err != nil {
		return store.Tally{}, err
	}
	tally.Uncounted = tally.Uncounted || opened != nil || len(aside) > 0
	err = errors.Join(b.Set(dayKey('d', d), tallyValue(tally), nil), b.Delete(dayKey('n', d), nil), b.Commit(pebble.Sync))
	if err != nil {
		return store.Tally{}, fmt.Errorf("retiring %v: %w", d, err)
	}
	p.retired = true
	p.filter.Store(nil)
	return tally, nil
}

// sumUp puts a day's counts, as far as they can be read, into a batch of the register and returns their tally. db is nil
// for a day that has no database, or one that does not open.
func sumUp(ctx context.Context, d day.Day, db *pebble.DB, b *pebble.Batch) (store.Tally, error) {
	tally := store.Tally{Day: d}
	digest := sha256.New()
	var fault error
	if db != nil {
		err := eachCount(ctx, db, []byte{'c'}, nil, func(f visit.Facility, c store.Count) {
			tally.Visits += c.N
			fmt.Fprintf(digest, "%s %s %d %d\n", f, c.Gate, c.Hour, c.N)
			fault = errors.Join(fault, b.Set(countKey(dayKey('c', d), f, c.Gate, c.Hour), binary.BigEndian.AppendUint64(nil, c.N), nil))
		})
		if damaged(err) {
			tally.Uncounted, err = true, nil
		}
		if err := errors.Join(err, fault); err != nil {
			return store.Tally{}, err
		}
	}
	digest.Sum(tally.Digest[:0])
	return tally, nil
}

// tallyValue is a tally as the register holds it: the number of visits, the digest, and whether it is not all.
func tallyValue(t store.Tally) []byte {
	v := append(binary.BigEndian.AppendUint64(nil, t.Visits), t.Digest[:]...)
	if t.Uncounted {
		return append(v, 1)
	}
	return append(v, 0)
}

// Retired implements store.Days.
func (s *Store) Retired(ctx context.Context) (tallies []store.Tally, err error) {
	err = scan(ctx, s.register, []byte{'d'}, []byte{'d' + 1}, func(k, v []byte) (bool, error) {
		if len(k) != 5 {
			return false, fmt.Errorf("key of %d bytes is damaged", len(k))
		}
		t, err := readTally(day.Day(binary.BigEndian.Uint32(k[1:])), v)
		tallies = append(tallies, t)
		return err == nil, err
	})
	if err != nil {
		return nil, fmt.Errorf("listing retired days: %w", err)
	}
	return tallies, nil
}

func readTally(d day.Day, v []byte) (store.Tally, error) {
	if len(v) != 41 || v[40] > 1 {
		return store.Tally{}, fmt.Errorf("tally of %v: %d bytes, must be 41", d, len(v))
	}
	return store.Tally{Day: d, Visits: binary.BigEndian.Uint64(v), Digest: [32]byte(v[8:40]), Uncounted: v[40] == 1}, nil
}

// Drop implements store.Days.
func (s *Store) Drop(ctx context.Context, d day.Day) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p := s.dayOf(d)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.retired {
		return fmt.Errorf("dropping %v: it is not retired", d)
	}
	if p.db != nil {
		err := p.db.Close()
		p.db = nil
		if err != nil && !damaged(err) {
			return fmt.Errorf("closing %v: %w", d, err)
		}
	}
	if err := errors.Join(s.fs.RemoveAll(s.dayPath(d)), s.dropAside(d)); err != nil {
		return fmt.Errorf("dropping %v: %w", d, err)
	}
	p.told.Store(false)
	return s.syncFolder(filepath.Join(s.dir, "days"))
}
