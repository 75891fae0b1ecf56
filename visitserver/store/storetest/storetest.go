// Package storetest is the suite that every store passes.
package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/store"
)

// visitDay is the day of the visits; at returns a time on it.
var visitDay = day.Of(time.Date(2020, 7, 1, 0, 0, 0, 0, day.Seoul()))

func at(hour int, offset time.Duration) time.Time {
	return visitDay.Start().Add(time.Duration(hour)*time.Hour + offset).UTC()
}

// NewRow returns a row whose blind index and ciphertext follow from n.
func NewRow(g visit.Gate, t time.Time, n uint64) store.Row {
	h := sha256.Sum256(binary.BigEndian.AppendUint64(nil, n))
	return store.Row{At: t, Blind: store.Blind(h[:16]), Gate: g, Sealed: append(bytes.Repeat(h[:], 3), byte(n))}
}

// Run runs the suite. open opens a store in a place of its own for each test; reopen closes a store and opens it again.
func Run(t *testing.T, open func(t *testing.T) store.Store, reopen func(t *testing.T, s store.Store) store.Store) {
	for _, c := range []struct {
		rule string
		test func(t *testing.T, s store.Store, reopen func(store.Store) store.Store)
	}{
		{"a visit is stored once however often it is put", testOnce},
		{"the first of two rows of one visit stays", testFirstStays},
		{"identity is facility, day and code", testIdentity},
		{"concurrent puts of one code at one facility make one visit", testConcurrent},
		{"a window holds its beginning and not its end, in order of time", testWindow},
		{"a code is found at every facility", testElsewhere},
		{"rows off their day or too long are refused whole", testBadRows},
		{"counts are per gate and hour", testCounts},
		{"retiring closes a day for good and keeps its counts", testRetire},
		{"the register changes by comparison only", testRegister},
		{"register lists are ordered and bounded by their table", testList},
		{"of concurrent changes to one value one wins each round", testSwapRace},
		{"what rows change in the register is changed with them or not at all", testAccount},
		{"of concurrent accounts of one value each round one wins, and its row with it", testAccountRace},
		{"a cancelled call does nothing", testCancelled},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := open(t)
			again := func(old store.Store) store.Store {
				s = reopen(t, old)
				return s
			}
			defer func() {
				if err := s.Close(); err != nil {
					t.Errorf("closing: %v", err)
				}
			}()
			c.test(t, s, again)
		})
	}
}

func put(t *testing.T, s store.Store, f visit.Facility, want int, rows ...store.Row) {
	t.Helper()
	fresh, err := s.Put(t.Context(), f, visitDay, rows, nil)
	if err != nil || fresh != want {
		t.Fatalf("put %d rows of %s: %d fresh, %v; want %d", len(rows), f, fresh, err, want)
	}
}

func window(t *testing.T, s store.Store, f visit.Facility, from, to time.Time) []store.Row {
	t.Helper()
	var rows []store.Row
	for r, err := range s.Window(t.Context(), f, visitDay, from, to) {
		if err != nil {
			t.Fatalf("window of %s: %v", f, err)
		}
		rows = append(rows, r)
	}
	return rows
}

func whole(t *testing.T, s store.Store, f visit.Facility) []store.Row {
	t.Helper()
	return window(t, s, f, visitDay.Start(), (visitDay + 1).Start())
}

func same(a, b store.Row) bool {
	return a.At.Equal(b.At) && a.Blind == b.Blind && a.Gate == b.Gate && bytes.Equal(a.Sealed, b.Sealed)
}

func want(t *testing.T, what string, got []store.Row, rows ...store.Row) {
	t.Helper()
	if !slices.EqualFunc(got, rows, same) {
		t.Errorf("%s: %d rows %v, want %d rows %v", what, len(got), got, len(rows), rows)
	}
}

func testOnce(t *testing.T, s store.Store, reopen func(store.Store) store.Store) {
	a, b := NewRow("g1", at(9, 0), 1), NewRow("g1", at(9, time.Second), 2)
	put(t, s, "cafe", 2, a, b, a)
	put(t, s, "cafe", 0, a, b)
	s = reopen(s)
	put(t, s, "cafe", 0, b)
	want(t, "all", whole(t, s, "cafe"), a, b)
	for _, c := range []struct {
		row  store.Row
		held bool
	}{{a, true}, {NewRow("g1", at(9, 0), 3), false}} {
		got, held, err := s.Lookup(t.Context(), "cafe", visitDay, c.row.Blind)
		if err != nil || held != c.held || held && !same(got, c.row) {
			t.Errorf("looked up %v, %v, %v; want held %v", got, held, err, c.held)
		}
	}
}

func testFirstStays(t *testing.T, s store.Store, _ func(store.Store) store.Store) {
	first, second := NewRow("g1", at(9, 0), 1), NewRow("g2", at(10, 0), 1)
	put(t, s, "cafe", 1, first, second)
	put(t, s, "cafe", 0, second)
	want(t, "all", whole(t, s, "cafe"), first)
}

func testIdentity(t *testing.T, s store.Store, _ func(store.Store) store.Store) {
	r := NewRow("g1", at(9, 0), 1)
	put(t, s, "cafe", 1, r)
	put(t, s, "caf", 1, r)
	put(t, s, "cafe2", 1, r)
	tomorrow := r
	tomorrow.At = r.At.Add(24 * time.Hour)
	if fresh, err := s.Put(t.Context(), "cafe", visitDay+1, []store.Row{tomorrow}, nil); err != nil || fresh != 1 {
		t.Errorf("another day: %d fresh, %v; want 1", fresh, err)
	}
	want(t, "cafe", whole(t, s, "cafe"), r)
	want(t, "caf", whole(t, s, "caf"), r)
	days, err := s.Days(t.Context())
	if err != nil || !slices.Equal(days, []day.Day{visitDay, visitDay + 1}) {
		t.Errorf("days %v, %v; want two", days, err)
	}
}

func testConcurrent(t *testing.T, s store.Store, _ func(store.Store) store.Store) {
	const gates, codes = 8, 50
	var wg sync.WaitGroup
	var mu sync.Mutex
	total := 0
	for g := range gates {
		wg.Go(func() {
			for n := range codes {
				r := NewRow(visit.Gate(fmt.Sprintf("g%d", g)), at(9, time.Duration(g)*time.Millisecond), uint64(n))
				fresh, err := s.Put(t.Context(), "cafe", visitDay, []store.Row{r}, nil)
				if err != nil {
					t.Errorf("put: %v", err)
				}
				mu.Lock()
				total += fresh
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if total != codes || len(whole(t, s, "cafe")) != codes {
		t.Errorf("%d reported fresh, %d stored, want %d", total, len(whole(t, s, "cafe")), codes)
	}
	if n, err := s.Stored(t.Context(), "cafe"); err != nil || n != codes {
		t.Errorf("counted %d, %v; want %d", n, err, codes)
	}
}

func testWindow(t *testing.T, s store.Store, _ func(store.Store) store.Store) {
	a, b, c := NewRow("g1", at(9, 0), 1), NewRow("g2", at(9, time.Millisecond), 2), NewRow("g1", at(23, 0), 3)
	put(t, s, "cafe", 3, c, b, a)
	put(t, s, "club", 1, NewRow("g1", at(9, 0), 4))
	want(t, "from a to b", window(t, s, "cafe", a.At, b.At), a)
	want(t, "from just after a", window(t, s, "cafe", a.At.Add(time.Nanosecond), c.At.Add(time.Nanosecond)), b, c)
	want(t, "empty", window(t, s, "cafe", b.At, b.At))
	want(t, "nobody", whole(t, s, "nowhere"))
	for r, err := range s.Window(t.Context(), "cafe", visitDay, a.At, (visitDay + 1).Start()) {
		if err != nil || !same(r, a) {
			t.Errorf("first row %v, %v", r, err)
		}
		break
	}
}

func testElsewhere(t *testing.T, s store.Store, _ func(store.Store) store.Store) {
	both, alone, twice, nowhere := NewRow("g1", at(9, 0), 1), NewRow("g1", at(9, 0), 2), NewRow("g1", at(9, 0), 3), NewRow("g1", at(9, 0), 4)
	put(t, s, "cafe", 2, both, alone)
	put(t, s, "club", 2, NewRow("g2", at(11, 0), 1), twice)
	put(t, s, "bar", 1, twice)
	for f, want := range map[visit.Facility][]store.Blind{
		"cafe": {both.Blind, twice.Blind}, "club": {both.Blind, alone.Blind, twice.Blind}, "bar": {both.Blind, alone.Blind, twice.Blind},
		"caf": {both.Blind, alone.Blind, twice.Blind},
	} {
		found, err := s.Elsewhere(t.Context(), f, visitDay, []store.Blind{nowhere.Blind, twice.Blind, both.Blind, alone.Blind, both.Blind})
		if err != nil || len(found) != len(want) {
			t.Errorf("%s: %d codes are elsewhere, %v; want %d", f, len(found), err, len(want))
		}
		for _, b := range want {
			if !found[b] {
				t.Errorf("%s: a code that is elsewhere is not found", f)
			}
		}
	}
	if found, err := s.Elsewhere(t.Context(), "bar", visitDay-1, []store.Blind{both.Blind}); err != nil || len(found) != 0 {
		t.Errorf("found %v, %v on another day", found, err)
	}
}

func testBadRows(t *testing.T, s store.Store, _ func(store.Store) store.Store) {
	good := NewRow("g1", at(9, 0), 1)
	long := NewRow("g1", at(9, 0), 2)
	long.Sealed = make([]byte, store.MaxSealed+1)
	for rule, bad := range map[string]store.Row{"off its day": NewRow("g1", at(24, 0), 3), "too long": long} {
		if _, err := s.Put(t.Context(), "cafe", visitDay, []store.Row{good, bad}, nil); err == nil {
			t.Errorf("%s: taken", rule)
		}
	}
	want(t, "all", whole(t, s, "cafe"))
}

func testCounts(t *testing.T, s store.Store, reopen func(store.Store) store.Store) {
	put(t, s, "cafe", 3, NewRow("g1", at(0, 0), 1), NewRow("g1", at(23, time.Hour-time.Millisecond), 2), NewRow("g2", at(9, 0), 3))
	put(t, s, "cafe", 1, NewRow("g1", at(0, time.Minute), 4), NewRow("g1", at(0, 0), 1))
	put(t, s, "cafe2", 1, NewRow("g1", at(0, 0), 1))
	wantCounts(t, s, "cafe", store.Count{Gate: "g1", Hour: 0, N: 2}, store.Count{Gate: "g1", Hour: 23, N: 1}, store.Count{Gate: "g2", Hour: 9, N: 1})
	s = reopen(s)
	wantCounts(t, s, "cafe2", store.Count{Gate: "g1", Hour: 0, N: 1})
	wantCounts(t, s, "nowhere")
}

func wantCounts(t *testing.T, s store.Store, f visit.Facility, want ...store.Count) {
	t.Helper()
	got, err := s.Counts(t.Context(), f, visitDay)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("counts of %s: %v, %v; want %v", f, got, err, want)
	}
	var sum uint64
	for _, c := range want {
		sum += c.N
	}
	if n, err := s.Stored(context.WithoutCancel(t.Context()), f); err != nil || n != sum {
		t.Errorf("stored of %s: %d, %v; want %d", f, n, err, sum)
	}
}

func testRetire(t *testing.T, s store.Store, reopen func(store.Store) store.Store) {
	row := NewRow("g1", at(9, 0), 1)
	put(t, s, "cafe", 2, row, NewRow("g2", at(10, 0), 2))
	put(t, s, "bar", 1, NewRow("g1", at(10, 0), 3))
	if err := s.Drop(t.Context(), visitDay); err == nil {
		t.Error("a day was dropped without being retired")
	}
	wantTally := store.Tally{Day: visitDay, Visits: 3, Digest: sha256.Sum256([]byte("bar g1 10 1\ncafe g1 9 1\ncafe g2 10 1\n"))}
	tally, err := s.Retire(t.Context(), visitDay)
	if err != nil || tally != wantTally {
		t.Fatalf("retiring: %+v, %v; want %+v", tally, err, wantTally)
	}
	check := func(when string) {
		t.Helper()
		if _, err := s.Put(t.Context(), "cafe", visitDay, []store.Row{row}, nil); !errors.Is(err, store.ErrRetired) {
			t.Errorf("%s: put gave %v, want ErrRetired", when, err)
		}
		want(t, when, whole(t, s, "cafe"))
		if _, held, err := s.Lookup(t.Context(), "cafe", visitDay, row.Blind); err != nil || held {
			t.Errorf("%s: still holds a row: %v, %v", when, held, err)
		}
		if found, err := s.Elsewhere(t.Context(), "nowhere", visitDay, []store.Blind{row.Blind}); err != nil || len(found) != 0 {
			t.Errorf("%s: still finds a row: %v, %v", when, found, err)
		}
		wantCounts(t, s, "cafe", store.Count{Gate: "g1", Hour: 9, N: 1}, store.Count{Gate: "g2", Hour: 10, N: 1})
		if again, err := s.Retire(t.Context(), visitDay); err != nil || again != wantTally {
			t.Errorf("%s: retiring again: %+v, %v", when, again, err)
		}
		if all, err := s.Retired(t.Context()); err != nil || !slices.Equal(all, []store.Tally{wantTally}) {
			t.Errorf("%s: retired days %v, %v", when, all, err)
		}
	}
	check("after retiring")
	s = reopen(s)
	check("after opening again")
	for range 2 {
		if err := s.Drop(t.Context(), visitDay); err != nil {
			t.Fatalf("dropping: %v", err)
		}
		check("after dropping")
	}
	if days, err := s.Days(t.Context()); err != nil || len(days) != 0 {
		t.Errorf("days %v, %v; want none", days, err)
	}
	s = reopen(s)
	check("after dropping and opening again")
	if tally, err := s.Retire(t.Context(), visitDay+5); err != nil || tally.Visits != 0 || tally.Digest != sha256.Sum256(nil) {
		t.Errorf("retiring a day without rows: %+v, %v", tally, err)
	}
}

func testCancelled(t *testing.T, s store.Store, _ func(store.Store) store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Put(ctx, "cafe", visitDay, []store.Row{NewRow("g1", at(9, 0), 1)}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("put: %v", err)
	}
	if err := s.Swap(ctx, store.Change{Table: "gate", Key: "a", New: []byte{1}}); !errors.Is(err, context.Canceled) {
		t.Errorf("swap: %v", err)
	}
	want(t, "all", whole(t, s, "cafe"))
	if _, err := s.Get(t.Context(), "gate", "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("get: %v", err)
	}
}
