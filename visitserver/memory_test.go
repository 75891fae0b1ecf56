package visitserver

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/store"
)

// memoryStore is as much of a store as requests need that do not read visits. It has no goroutines of its own: to the
// fuzzing engine, which follows what code an input reaches, those of a database look like the work of the input.
type memoryStore struct {
	store.Store // nil: what is missing panics, and a test sees it

	mu     sync.Mutex
	values map[string]map[string][]byte // by table and key
	visits map[string]store.Row
}

func newMemoryStore() *memoryStore {
	return &memoryStore{values: map[string]map[string][]byte{}, visits: map[string]store.Row{}}
}

func visitName(f visit.Facility, d day.Day, b store.Blind) string {
	return fmt.Sprintf("%s %v %x", f, d, b)
}

func (m *memoryStore) Put(
	ctx context.Context, f visit.Facility, d day.Day, rows []store.Row, account store.Account,
) (fresh int, err error) {
	m.mu.Lock()
	for _, r := range rows {
		if _, held := m.visits[visitName(f, d, r.Blind)]; !held {
			m.visits[visitName(f, d, r.Blind)] = r
			fresh++
		}
	}
	m.mu.Unlock()
	if account == nil {
		return fresh, nil
	}
	changes, err := account(fresh)
	if err == nil {
		err = m.Swap(ctx, changes...)
	}
	return fresh, err
}

func (m *memoryStore) Lookup(_ context.Context, f visit.Facility, d day.Day, b store.Blind) (store.Row, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	row, stored := m.visits[visitName(f, d, b)]
	return row, stored, nil
}

func (m *memoryStore) Counts(context.Context, visit.Facility, day.Day) ([]store.Count, error) {
	return nil, nil
}
func (m *memoryStore) Stored(context.Context, visit.Facility) (uint64, error) { return 0, nil }
func (m *memoryStore) Days(context.Context) ([]day.Day, error)                { return nil, nil }
func (m *memoryStore) Retired(context.Context) ([]store.Tally, error)         { return nil, nil }
func (m *memoryStore) Strays(context.Context) ([]string, error)               { return nil, nil }
func (m *memoryStore) SetAside(context.Context) ([]day.Day, error)            { return nil, nil }
func (m *memoryStore) Close() error                                           { return nil }

func (m *memoryStore) Get(_ context.Context, table, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok := m.values[table][key]; ok {
		return bytes.Clone(v), nil
	}
	return nil, store.ErrNotFound
}

func (m *memoryStore) List(_ context.Context, table, prefix string) (entries []store.Entry, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, v := range m.values[table] {
		if strings.HasPrefix(key, prefix) {
			entries = append(entries, store.Entry{Key: key, Value: bytes.Clone(v)})
		}
	}
	slices.SortFunc(entries, func(a, b store.Entry) int { return cmp.Compare(a.Key, b.Key) })
	return entries, nil
}

func (m *memoryStore) Swap(_ context.Context, changes ...store.Change) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range changes {
		held, ok := m.values[c.Table][c.Key]
		if ok != (c.Old != nil) || !bytes.Equal(held, c.Old) {
			return store.ErrConflict
		}
	}
	for _, c := range changes {
		if m.values[c.Table] == nil {
			m.values[c.Table] = map[string][]byte{}
		}
		delete(m.values[c.Table], c.Key)
		if c.New != nil {
			m.values[c.Table][c.Key] = bytes.Clone(c.New)
		}
	}
	return nil
}
