package storetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/store"
)

func testAccount(t *testing.T, s store.Store, reopen func(store.Store) store.Store) {
	one, two, three := []byte("one"), []byte("two"), []byte("three")
	broken := errors.New("no account")
	row := func(n uint64) store.Row { return NewRow("g1", at(9, time.Duration(n)*time.Millisecond), n) }
	for _, c := range []struct {
		rule    string
		rows    []store.Row
		fresh   int // of which the account is told
		changes []store.Change
		err     error // of the account
		want    error
		holds   []byte
	}{
		{"a first value", []store.Row{row(1), row(2)}, 2, []store.Change{{Table: "gate", Key: "a", New: one}}, nil, nil, one},
		{"nothing to change", []store.Row{row(3)}, 1, nil, nil, nil, one},
		{"another value than expected", []store.Row{row(4)}, 1, []store.Change{{Table: "gate", Key: "a", Old: two, New: three}}, nil, store.ErrConflict, one},
		{"one of two is not as expected", []store.Row{row(4)}, 1, []store.Change{
			{Table: "gate", Key: "a", Old: one, New: two}, {Table: "gate", Key: "b", Old: one, New: two}}, nil, store.ErrConflict, one},
		{"no account", []store.Row{row(4)}, 1, nil, broken, broken, one},
		{"some are stored", []store.Row{row(1), row(5)}, 1, []store.Change{{Table: "gate", Key: "a", Old: one, New: two}}, nil, nil, two},
		{"all are stored", []store.Row{row(1), row(5)}, 0, []store.Change{{Table: "gate", Key: "a", Old: two, New: three}}, nil, nil, three},
	} {
		_, err := s.Put(t.Context(), "cafe", visitDay, c.rows, func(fresh int) ([]store.Change, error) {
			if fresh != c.fresh {
				t.Errorf("%s: the account is told of %d new rows, want %d", c.rule, fresh, c.fresh)
			}
			return c.changes, c.err
		})
		if !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", c.rule, err, c.want)
		}
		if v, err := s.Get(t.Context(), "gate", "a"); err != nil || !bytes.Equal(v, c.holds) {
			t.Errorf("%s: the register holds %q, %v", c.rule, v, err)
		}
	}
	if err := s.Swap(t.Context(), store.Change{Table: "gate", Key: "a", Old: three, New: one}); err != nil {
		t.Errorf("changing what rows had changed: %v", err)
	}
	if _, err := s.Put(t.Context(), "cafe", visitDay, []store.Row{row(6)}, func(int) ([]store.Change, error) {
		return []store.Change{{Table: "gate", Key: "c", New: []byte{}}, {Table: "gate", Key: "a", Old: one}}, nil
	}); err != nil {
		t.Errorf("removing a value: %v", err)
	}
	if _, err := s.Get(t.Context(), "gate", "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a value that was removed with rows: %v", err)
	}
	s = reopen(s)
	want(t, "all", whole(t, s, "cafe"), row(1), row(2), row(3), row(5), row(6))
	if v, err := s.Get(t.Context(), "gate", "c"); err != nil || len(v) != 0 {
		t.Errorf("after opening again: %q, %v", v, err)
	}
	if _, err := s.Get(t.Context(), "gate", "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a value that was removed, after opening again: %v", err)
	}
	if _, err := s.Get(t.Context(), "gate", "b"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("half of an account was made: %v", err)
	}
}

func testAccountRace(t *testing.T, s store.Store, reopen func(store.Store) store.Store) {
	const writers, rounds = 4, 25
	add := func(writer, round uint64) error {
		for {
			old, err := s.Get(t.Context(), "gate", "n")
			n := uint64(0)
			if err == nil {
				n = binary.BigEndian.Uint64(old)
			} else if old = nil; !errors.Is(err, store.ErrNotFound) {
				return err
			}
			row := NewRow("g1", at(9, time.Duration(n)*time.Millisecond), writer<<32|round)
			_, err = s.Put(t.Context(), visit.Facility(fmt.Sprintf("cafe%d", writer%2)), visitDay, []store.Row{row}, func(int) ([]store.Change, error) {
				return []store.Change{{Table: "gate", Key: "n", Old: old, New: binary.BigEndian.AppendUint64(nil, n+1)}}, nil
			})
			if !errors.Is(err, store.ErrConflict) {
				return err
			}
		}
	}
	var wg sync.WaitGroup
	for w := range uint64(writers) {
		wg.Go(func() {
			for r := range uint64(rounds) {
				if err := add(w, r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s = reopen(s)
	v, err := s.Get(t.Context(), "gate", "n")
	if err != nil || binary.BigEndian.Uint64(v) != writers*rounds {
		t.Errorf("counter is %v, %v; want %d", v, err, writers*rounds)
	}
	rows := append(whole(t, s, "cafe0"), whole(t, s, "cafe1")...)
	seen := map[time.Time]bool{}
	for _, r := range rows {
		seen[r.At] = true
	}
	if len(rows) != writers*rounds || len(seen) != writers*rounds {
		t.Errorf("%d rows of %d counts, want %d", len(rows), len(seen), writers*rounds)
	}
}
