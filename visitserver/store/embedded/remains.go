package embedded

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/batchrepr"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/wal"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/store"
)

// remains are the rows of a day between two keys as far as they can be read: of its database, of what was set aside, and where
// a database does not give them, of each of its files by itself. Rows are written once and stay, so that whichever files hold
// one, it is the same.
type remains struct {
	store        *Store
	lower, upper []byte
	found        map[string][]byte // values by key
}

// remains returns what is left of a day's rows between two keys, ascending by time.
func (s *Store) remains(ctx context.Context, d day.Day, lower, upper []byte) ([]store.Row, error) {
	p := s.dayOf(d)
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.retired {
		return nil, nil
	}
	folders, err := s.asideOf(d)
	if err != nil {
		return nil, err
	}
	r := remains{s, lower, upper, map[string][]byte{}}
	if p.db != nil {
		err = scan(ctx, p.db, lower, upper, func(k, v []byte) (bool, error) { return true, r.take(k, v) })
	}
	if p.db == nil || err != nil {
		folders = append(folders, s.dayPath(d))
	}
	for _, folder := range folders {
		if err := r.folder(ctx, folder); err != nil {
			return nil, err
		}
	}
	var rows []store.Row
	seen := map[store.Blind]bool{}
	for _, k := range slices.Sorted(maps.Keys(r.found)) {
		row, err := readRow([]byte(k), r.found[k])
		if err == nil && !seen[row.Blind] { // a visit that came again after its row was lost may stand there twice
			seen[row.Blind] = true
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// take keeps a copy of a row.
func (r *remains) take(k, v []byte) error {
	if bytes.Compare(k, r.lower) >= 0 && bytes.Compare(k, r.upper) < 0 {
		r.found[string(k)] = bytes.Clone(v)
	}
	return nil
}

// folder reads the files of a database. It returns an error only when ctx has ended. Logs come first: what goes from one into a
// table meanwhile is found in either.
func (r *remains) folder(ctx context.Context, path string) error {
	logs, _ := wal.Scan(wal.Dir{FS: r.store.fs, Dirname: path})
	for _, l := range logs {
		r.log(l)
	}
	names, _ := r.store.fs.List(path)
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if filepath.Ext(name) == ".sst" {
			r.table(ctx, filepath.Join(path, name))
		}
	}
	return nil
}

// log takes what a database's log holds up to where it is damaged.
func (r *remains) log(l wal.LogicalLog) {
	reader := l.OpenForRead()
	defer reader.Close()
	for {
		record, _, err := reader.NextRecord()
		if err != nil {
			return
		}
		batch, err := io.ReadAll(record)
		if err != nil {
			return
		}
		entries := batchrepr.Read(batch)
		for {
			kind, k, v, ok, err := entries.Next()
			if err != nil || !ok {
				break
			}
			if kind == pebble.InternalKeyKindSet {
				_ = r.take(k, v)
			}
		}
	}
}

// table takes what a table holds.
func (r *remains) table(ctx context.Context, path string) {
	file, err := r.store.fs.Open(path)
	if err != nil {
		return
	}
	readable, err := sstable.NewSimpleReadable(file)
	if err != nil {
		_ = file.Close()
		return
	}
	opts := &pebble.Options{Merger: sums}
	opts.EnsureDefaults()
	table, err := sstable.NewReader(ctx, readable, opts.MakeReaderOptions())
	if err != nil {
		_ = readable.Close()
		return
	}
	defer table.Close()
	it, err := table.NewIter(sstable.NoTransforms, r.lower, r.upper, sstable.AssertNoBlobHandles)
	if err != nil {
		return
	}
	defer it.Close()
	// Behind a damaged block it goes on, by steps in time that double until one leads past it.
	const firstStep = time.Second
	step, next := firstStep, r.lower
	for bytes.Compare(next, r.upper) < 0 {
		kv := it.SeekGE(next, 0)
		for ; kv != nil; kv = it.Next() {
			v, _, err := kv.Value(nil)
			if err != nil {
				break
			}
			_ = r.take(kv.K.UserKey, v)
			next, step = bytes.Clone(kv.K.UserKey), firstStep
		}
		if it.Error() == nil {
			return
		}
		next = later(next, step)
		step *= 2
	}
}

// later is the first key of rows of the same facility that are placed so much later than key.
func later(key []byte, step time.Duration) []byte {
	n := bytes.IndexByte(key, 0) + 1
	at := binary.BigEndian.Uint64(key[n:])
	return binary.BigEndian.AppendUint64(key[:n:n], at+uint64(step.Milliseconds()))
}

// asideOf lists the folders that hold what was set aside of a day, unless it is retired.
func (s *Store) asideOf(d day.Day) (folders []string, err error) {
	_, err = get(s.register, dayKey('d', d))
	switch {
	case err == nil:
		return nil, nil
	case !errors.Is(err, pebble.ErrNotFound):
		return nil, fmt.Errorf("reading whether %v is retired: %w", d, err)
	}
	return s.foldersAside(d)
}

// foldersAside lists the folders that hold what was set aside of a day.
func (s *Store) foldersAside(d day.Day) (folders []string, err error) {
	names, err := s.fs.List(s.asidePath())
	if err != nil {
		return nil, fmt.Errorf("listing what was set aside: %w", err)
	}
	for _, name := range names {
		if of, ok := dayAside(name); ok && of == d {
			folders = append(folders, filepath.Join(s.asidePath(), name))
		}
	}
	return folders, nil
}

// countRows counts what is left of a facility's rows of a damaged day.
func (s *Store) countRows(ctx context.Context, f visit.Facility, d day.Day) (counts []store.Count, err error) {
	prefix := rowPrefix(nil, f)
	rows, err := s.remains(ctx, d, timeKey(prefix, d.Start()), timeKey(prefix, (d+1).Start()))
	if err != nil {
		return nil, err
	}
	n := map[store.Count]uint64{}
	for _, r := range rows {
		n[store.Count{Gate: r.Gate, Hour: int(r.At.Sub(d.Start()) / time.Hour)}]++
	}
	for c := range n {
		counts = append(counts, store.Count{Gate: c.Gate, Hour: c.Hour, N: n[c]})
	}
	slices.SortFunc(counts, func(a, b store.Count) int { return cmp.Or(cmp.Compare(a.Gate, b.Gate), a.Hour-b.Hour) })
	return counts, nil
}
