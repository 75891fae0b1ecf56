package visitserver

import (
	"errors"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/visitserver/store"
)

func TestAnEditIsMadeWholeOrNotAtAll(t *testing.T) {
	st := newMemoryStore()
	holds := func(rule string, want int) {
		t.Helper()
		if got := testkit.Must(st.List(t.Context(), tableFacility, ""))(t); len(got) != want {
			t.Errorf("%s: %d values, want %d", rule, len(got), want)
		}
	}
	var e edit
	e.put(tableFacility, "cafe", nil, FacilityRow{Display: "카페"})
	e.put(tableFacility, "club", nil, FacilityRow{Added: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}) // has no form in JSON
	if err := e.apply(t.Context(), st); err == nil {
		t.Error("a value without an encoding was stored")
	}
	holds("after a value without an encoding", 0)
	e = edit{}
	e.put(tableFacility, "cafe", nil, FacilityRow{Display: "카페"})
	testkit.Check(t, e.apply(t.Context(), st))
	var row FacilityRow
	raw := testkit.Must(load(t.Context(), st, tableFacility, "cafe", &row))(t)
	e = edit{}
	e.put(tableFacility, "club", []byte("another"), row)
	e.remove(tableFacility, "cafe", raw)
	if err := e.apply(t.Context(), st); !errors.Is(err, store.ErrConflict) {
		t.Errorf("against what stands there: %v", err)
	}
	holds("after a conflict", 1)
	e = edit{}
	e.remove(tableFacility, "cafe", raw)
	testkit.Check(t, e.apply(t.Context(), st))
	holds("after a removal", 0)
}
