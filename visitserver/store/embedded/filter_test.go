package embedded

import (
	"testing"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/visitserver/store"
	"github.com/kipass/kipass/visitserver/store/storetest"
)

func TestFilterNeverDeniesWhatItWasGivenAndSeldomLies(t *testing.T) {
	const n = 400_000 // three layers
	f := &filter{}
	key := func(i uint64) filterKey { return newFilterKey(i%7, storetest.NewRow("g", benchDay.Start(), i).Blind) }
	for i := range uint64(n) {
		f.add(key(i))
	}
	if len(f.layers) != 3 {
		t.Fatalf("%d layers, want 3", len(f.layers))
	}
	lies := 0
	for i := range uint64(n) {
		if !f.has(key(i)) {
			t.Fatalf("key %d is denied", i)
		}
		if f.has(key(n + i)) {
			lies++
		}
	}
	if lies > n/100 {
		t.Errorf("%d of %d new keys are claimed, want at most 1 in 100", lies, n)
	}
}

func TestFiltersAreKeptForTheNewestDaysAndLateVisitsAreStillOne(t *testing.T) {
	s := openIn(t, t.TempDir())
	defer s.Close()
	const days = maxFilters + 3
	put := func(d day.Day, want int) {
		t.Helper()
		row := storetest.NewRow("g", d.Start(), uint64(d))
		if fresh, err := s.Put(t.Context(), "cafe", d, []store.Row{row}, nil); err != nil || fresh != want {
			t.Errorf("%v: %d fresh, %v; want %d", d, fresh, err, want)
		}
	}
	for i := range day.Day(days) {
		put(benchDay+(i*3)%days, 1) // not in order
	}
	for d := benchDay; d < benchDay+days; d++ {
		put(d, 0)
		if has, want := s.days[d].filter.Load() != nil, d >= benchDay+days-maxFilters; has && !want {
			t.Errorf("day %d still has a filter", d-benchDay)
		}
	}
	if _, err := s.Retire(t.Context(), benchDay+days-1); err != nil || s.days[benchDay+days-1].filter.Load() != nil {
		t.Errorf("a retired day keeps its filter: %v", err)
	}
}
