package embedded

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/store"
)

// Put implements store.Visits. Check and insert are one step under the facility's lock; the wait for the disk is not,
// so that batches of one facility share a flush.
func (s *Store) Put(
	ctx context.Context, f visit.Facility, d day.Day, rows []store.Row, account store.Account,
) (fresh int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	for _, r := range rows {
		if len(r.Sealed) > store.MaxSealed || day.Of(r.At) != d {
			return 0, fmt.Errorf("row of %d bytes at %v: must be at most %d and on %v", len(r.Sealed), r.At, store.MaxSealed, d)
		}
	}
	err = s.use(d, true, func(db *pebble.DB) error {
		if account != nil {
			if err := s.mark(d); err != nil {
				return err
			}
		}
		b := db.NewBatchWithSize(len(rows)*320 + accountSize)
		defer b.Close()
		var with carriage
		defer func() { s.unload(with) }()
		if fresh, with, err = s.insert(db, b, f, d, rows, account); err != nil {
			return err
		}
		if b.Empty() {
			// All was there already, but perhaps by a batch that is still on its way to the disk.
			return db.LogData(nil, pebble.Sync)
		}
		if err := b.SyncWait(); err != nil {
			return err
		}
		return s.deliver(d, fresh, with)
	})
	if err != nil {
		return 0, fmt.Errorf("storing visits of %s: %w", f, err)
	}
	return fresh, nil
}

// insert adds the rows that are new, and what changes in the register with them, to b and applies it.
func (s *Store) insert(
	db *pebble.DB, b *pebble.Batch, f visit.Facility, d day.Day, rows []store.Row, account store.Account,
) (fresh int, with carriage, err error) {
	mu := s.lock(f)
	mu.Lock()
	defer mu.Unlock()
	// Loaded under the facility's lock: a filter taken away meanwhile would miss what is inserted from then on.
	filter := s.dayOf(d).filter.Load()
	keys, maybe := s.filterKeys(filter, f, rows)
	isNew, fresh, err := s.addRows(db, b, f, d, rows, maybe)
	if err != nil {
		return 0, carriage{}, err
	}
	if account != nil {
		changes, err := account(fresh)
		if err == nil && len(changes) > 0 {
			with, err = s.carry(b, changes)
		}
		if err != nil {
			return 0, carriage{}, err
		}
	}
	if b.Empty() {
		return 0, carriage{}, nil
	}
	if filter != nil {
		filter.mu.Lock()
		for i, k := range keys {
			if isNew[i] {
				filter.add(k)
			}
		}
		filter.mu.Unlock()
	}
	return fresh, with, db.ApplyNoSyncWait(b, pebble.Sync)
}

// addRows adds the rows that are new to b and tells which they are. The caller holds the facility's lock.
func (s *Store) addRows(
	db *pebble.DB, b *pebble.Batch, f visit.Facility, d day.Day, rows []store.Row, maybe []bool,
) (isNew []bool, fresh int, err error) {
	order := ascending(rows)

	// One iterator for all look-ups: opening one costs more than a seek. With the default comparer a key's prefix is the
	// whole key, so that the filters answer for most tables.
	known, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{'x'}, UpperBound: []byte{'x' + 1}})
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if fault := known.Close(); !s.unreadable(d, fault) {
			err = errors.Join(err, fault)
		}
	}()
	var key, value []byte
	isNew = make([]bool, len(rows))
	for n, i := range order {
		r := rows[i]
		if n > 0 && rows[order[n-1]].Blind == r.Blind {
			continue
		}
		key = indexKey(key[:0], r.Blind, f)
		if maybe == nil || maybe[i] {
			if known.SeekPrefixGE(key) {
				continue
			}
			// A damaged index knows no visit: to store one twice is better than to refuse a day's from now on.
			if err := known.Error(); err != nil && !s.unreadable(d, err) {
				return nil, 0, err
			}
		}
		value = binary.BigEndian.AppendUint64(value[:0], uint64(r.At.UnixMilli()))
		if err := b.Set(key, value, nil); err != nil {
			return nil, 0, err
		}
		isNew[i] = true
		fresh++
	}
	if fresh == 0 {
		return isNew, 0, nil
	}
	// Rows follow in the order given, mostly that of time: neighbours go to neighbouring places of the memtable.
	counts := map[store.Count]uint64{}
	for i, r := range rows {
		if !isNew[i] {
			continue
		}
		key, value = rowKey(key[:0], f, uint64(r.At.UnixMilli()), r.Blind), rowValue(value[:0], r)
		if err := b.Set(key, value, nil); err != nil {
			return nil, 0, err
		}
		counts[store.Count{Gate: r.Gate, Hour: int(r.At.Sub(d.Start()) / time.Hour)}]++
	}
	for c, n := range counts {
		if err := b.Merge(countKey([]byte{'c'}, f, c.Gate, c.Hour), binary.BigEndian.AppendUint64(nil, n), nil); err != nil {
			return nil, 0, err
		}
	}
	return isNew, fresh, nil
}

// ascending returns the rows' numbers by blind index, which makes look-ups walk the database in one direction. Equal ones
// stay in the order given, so that the first is kept.
func ascending(rows []store.Row) []int {
	type place struct {
		head uint64 // the first half of the index
		row  int
	}
	places := make([]place, len(rows))
	for i := range rows {
		places[i] = place{binary.BigEndian.Uint64(rows[i].Blind[:]), i}
	}
	slices.SortFunc(places, func(a, b place) int {
		if a.head != b.head {
			return cmp.Compare(a.head, b.head)
		}
		return cmp.Or(bytes.Compare(rows[a.row].Blind[8:], rows[b.row].Blind[8:]), a.row-b.row)
	})
	order := make([]int, len(rows))
	for n, p := range places {
		order[n] = p.row
	}
	return order
}

// filterKeys returns the rows' keys in the filter and which of them it may hold; nil without a filter.
func (s *Store) filterKeys(filter *filter, f visit.Facility, rows []store.Row) ([]filterKey, []bool) {
	if filter == nil {
		return nil, nil
	}
	facility := s.facilityHash(f)
	keys, maybe := make([]filterKey, len(rows)), make([]bool, len(rows))
	filter.mu.Lock()
	defer filter.mu.Unlock()
	for i, r := range rows {
		keys[i] = newFilterKey(facility, r.Blind)
		maybe[i] = filter.has(keys[i])
	}
	return keys, maybe
}

// Lookup implements store.Visits.
func (s *Store) Lookup(ctx context.Context, f visit.Facility, d day.Day, b store.Blind) (row store.Row, stored bool, err error) {
	if err := ctx.Err(); err != nil {
		return store.Row{}, false, err
	}
	err = s.use(d, false, func(db *pebble.DB) error {
		if db == nil {
			return nil
		}
		at, err := get(db, indexKey(nil, b, f))
		if err == nil {
			row, err = indexed(db, f, b, at)
			stored = err == nil
		}
		if errors.Is(err, pebble.ErrNotFound) {
			return nil
		}
		return err
	})
	if s.unreadable(d, err) {
		return store.Row{}, false, nil
	}
	if err != nil {
		return store.Row{}, false, fmt.Errorf("looking a visit of %s up: %w", f, err)
	}
	return row, stored, nil
}

// indexed returns the row that an entry of the index, whose value is at, speaks of.
func indexed(db *pebble.DB, f visit.Facility, b store.Blind, at []byte) (store.Row, error) {
	if len(at) != 8 {
		return store.Row{}, fmt.Errorf("index entry of %d bytes is damaged", len(at))
	}
	key := rowKey(nil, f, binary.BigEndian.Uint64(at), b)
	value, err := get(db, key)
	if err != nil {
		return store.Row{}, err
	}
	return readRow(key, value)
}

// Window implements store.Visits.
func (s *Store) Window(ctx context.Context, f visit.Facility, d day.Day, from, to time.Time) iter.Seq2[store.Row, error] {
	return func(yield func(store.Row, error) bool) {
		if !from.Before(to) {
			return
		}
		prefix := rowPrefix(nil, f)
		lower, upper := timeKey(prefix, from), timeKey(prefix, to)
		next, stopped := bytes.Clone(lower), false // next is behind the row yielded last
		err := s.use(d, false, func(db *pebble.DB) error {
			aside, err := s.asideOf(d)
			switch {
			case err != nil:
				return err
			case len(aside) > 0:
				return errAside
			case db == nil:
				return nil
			}
			return scan(ctx, db, lower, upper, func(k, v []byte) (bool, error) {
				r, err := readRow(k, v)
				if err != nil {
					return false, err
				}
				next = append(append(next[:0], k...), 0)
				stopped = !yield(r, nil)
				return !stopped, nil
			})
		})
		if stopped || err == nil {
			return
		}
		if s.unreadable(d, err) {
			rows, failed := s.remains(ctx, d, next, upper)
			for _, r := range rows {
				if !yield(r, nil) {
					return
				}
			}
			err = errors.Join(markDamage(err), failed)
		}
		yield(store.Row{}, fmt.Errorf("reading visits of %s on %v: %w", f, d, err))
	}
}

// errAside is of a day of which something was set aside.
var errAside = errors.New("a database of the day was set aside")

func timeKey(prefix []byte, t time.Time) []byte {
	ms := t.UnixMilli()
	if t.Nanosecond()%int(time.Millisecond) != 0 {
		ms++ // rows are at whole milliseconds: the first one at or after t
	}
	return binary.BigEndian.AppendUint64(bytes.Clone(prefix), uint64(max(ms, 0)))
}

// Elsewhere implements store.Visits. Codes are looked up in the order of the index, by one iterator that goes forward only:
// opening one for each costs many times as much (BenchmarkSearch).
func (s *Store) Elsewhere(ctx context.Context, f visit.Facility, d day.Day, codes []store.Blind) (map[store.Blind]bool, error) {
	slices.SortFunc(codes, func(a, b store.Blind) int { return bytes.Compare(a[:], b[:]) })
	elsewhere := map[store.Blind]bool{}
	err := s.use(d, false, func(db *pebble.DB) error {
		if db == nil {
			return nil
		}
		it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{'x'}, UpperBound: []byte{'x' + 1}})
		if err != nil {
			return err
		}
		var prefix []byte
		for _, code := range codes {
			if err := ctx.Err(); err != nil {
				return errors.Join(err, it.Close())
			}
			prefix = indexKey(prefix[:0], code, "")
			for ok := it.SeekGE(prefix); ok && bytes.HasPrefix(it.Key(), prefix); ok = it.Next() {
				if visit.Facility(it.Key()[len(prefix):]) != f {
					elsewhere[code] = true
					break
				}
			}
		}
		return it.Close() // reports the iterator's own error too
	})
	if err != nil && !s.unreadable(d, err) {
		return nil, fmt.Errorf("looking codes up on %v: %w", d, err)
	}
	return elsewhere, nil
}

// get returns a copy of a value.
func get(db *pebble.DB, key []byte) ([]byte, error) {
	v, closer, err := db.Get(key)
	if err != nil {
		return nil, err
	}
	return append([]byte{}, v...), closer.Close()
}

// number returns a counter, 0 if there is none.
func number(db *pebble.DB, key []byte) (uint64, error) {
	v, err := get(db, key)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return 0, nil
	case err != nil:
		return 0, err
	case len(v) != 8:
		return 0, fmt.Errorf("counter of %d bytes is damaged", len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}

// scan calls f for every key from lower up to and without upper, until f says no.
func scan(ctx context.Context, db *pebble.DB, lower, upper []byte, f func(k, v []byte) (bool, error)) error {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		if err := ctx.Err(); err != nil {
			return errors.Join(err, it.Close())
		}
		more, err := f(it.Key(), it.Value())
		if err != nil {
			return errors.Join(err, it.Close())
		}
		if !more {
			break
		}
	}
	return it.Close() // reports the iterator's own error too
}
