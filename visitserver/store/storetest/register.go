package storetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/kipass/kipass/visitserver/store"
)

func testRegister(t *testing.T, s store.Store, reopen func(store.Store) store.Store) {
	swap := func(rule string, want error, changes ...store.Change) {
		t.Helper()
		if err := s.Swap(t.Context(), changes...); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v, want %v", rule, err, want)
		}
	}
	holds := func(key string, want []byte) {
		t.Helper()
		v, err := s.Get(t.Context(), "gate", key)
		if want == nil && !errors.Is(err, store.ErrNotFound) || want != nil && (err != nil || !bytes.Equal(v, want)) {
			t.Errorf("%s: %q, %v; want %q", key, v, err, want)
		}
	}
	one, two := []byte("one"), []byte("two")
	swap("new", nil, store.Change{Table: "gate", Key: "a", New: one}, store.Change{Table: "gate", Key: "b", New: one})
	swap("new where there is one", store.ErrConflict, store.Change{Table: "gate", Key: "a", New: two})
	swap("old where there is none", store.ErrConflict, store.Change{Table: "gate", Key: "c", Old: one, New: two})
	swap("all or none", store.ErrConflict,
		store.Change{Table: "gate", Key: "a", Old: one, New: two}, store.Change{Table: "gate", Key: "b", Old: two, New: one})
	holds("a", one)
	swap("changed", nil, store.Change{Table: "gate", Key: "a", Old: one, New: two})
	swap("removed", nil, store.Change{Table: "gate", Key: "b", Old: one})
	swap("an empty value is a value", nil, store.Change{Table: "gate", Key: "d", New: []byte{}})
	swap("an empty value is not none", store.ErrConflict, store.Change{Table: "gate", Key: "d", New: one})
	s = reopen(s)
	holds("a", two)
	holds("b", nil)
	holds("d", []byte{})
}

func testList(t *testing.T, s store.Store, _ func(store.Store) store.Store) {
	for _, k := range [][2]string{{"gate", "b/2"}, {"gate", "b/1"}, {"gate", "a"}, {"gates", "b/3"}, {"gat", "e"}} {
		if err := s.Swap(t.Context(), store.Change{Table: k[0], Key: k[1], New: []byte(k[1])}); err != nil {
			t.Fatal(err)
		}
	}
	for prefix, want := range map[string][]string{"": {"a", "b/1", "b/2"}, "b/": {"b/1", "b/2"}, "c": nil} {
		entries, err := s.List(t.Context(), "gate", prefix)
		var keys []string
		for _, e := range entries {
			keys = append(keys, e.Key)
			if e.Key != string(e.Value) {
				t.Errorf("%s holds %q", e.Key, e.Value)
			}
		}
		if err != nil || !slices.Equal(keys, want) {
			t.Errorf("prefix %q: %v, %v; want %v", prefix, keys, err, want)
		}
	}
}

func testSwapRace(t *testing.T, s store.Store, _ func(store.Store) store.Store) {
	const writers, rounds = 4, 25
	add := func() error {
		for {
			old, err := s.Get(t.Context(), "gate", "n")
			n := uint64(0)
			switch {
			case errors.Is(err, store.ErrNotFound):
				old = nil
			case err != nil:
				return err
			default:
				n = binary.BigEndian.Uint64(old)
			}
			err = s.Swap(t.Context(), store.Change{Table: "gate", Key: "n", Old: old, New: binary.BigEndian.AppendUint64(nil, n+1)})
			if !errors.Is(err, store.ErrConflict) {
				return err
			}
		}
	}
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range rounds {
				if err := add(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	v, err := s.Get(t.Context(), "gate", "n")
	if err != nil || binary.BigEndian.Uint64(v) != writers*rounds {
		t.Errorf("counter is %v, %v; want %d", v, err, writers*rounds)
	}
}
