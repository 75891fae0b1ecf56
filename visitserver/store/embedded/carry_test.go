package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/store"
	"github.com/kipass/kipass/visitserver/store/storetest"
)

// accountant is a gate that stores one row a step and keeps the number of its steps in the register: with the row, or, in
// each third step, alone; in each seventh it removes the number, in one way or the other.
type accountant struct {
	s     *Store
	gate  visit.Gate
	n     uint64
	held  []byte // the number as it stands in the register
	acked uint64
}

func number8(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func (a *accountant) row(n uint64) (day.Day, store.Row) {
	d := benchDay + day.Day(n/20%3) // back and forth between days
	return d, storetest.NewRow(a.gate, d.Start(), n<<8|uint64(a.gate[0]))
}

func (a *accountant) change(next []byte) store.Change {
	return store.Change{Table: "account", Key: string(a.gate), Old: a.held, New: next}
}

func (a *accountant) step(t *testing.T) error {
	a.n++
	next := number8(a.n)
	if a.n%7 == 0 {
		next = nil
	}
	switch {
	case a.n%3 == 0:
		if err := a.s.Swap(t.Context(), a.change(next)); err != nil {
			return err
		}
	default:
		d, row := a.row(a.n)
		fresh, err := a.s.Put(t.Context(), "cafe", d, []store.Row{row}, func(fresh int) ([]store.Change, error) {
			return []store.Change{a.change(next)}, nil
		})
		if err != nil || fresh != 1 {
			return fmt.Errorf("%d fresh, %w", fresh, err)
		}
	}
	a.held = next
	return nil
}

// held holds an image against what a gate had done: the register is at a step that is not before the one acknowledged, and
// there are the rows of exactly the steps up to it.
func (a *accountant) check(t *testing.T, what string, s *Store, acked uint64) {
	t.Helper()
	at, err := s.Get(t.Context(), "account", string(a.gate))
	n := uint64(0)
	switch {
	case err == nil:
		n = binary.BigEndian.Uint64(at)
		if n%7 == 0 {
			t.Fatalf("%s: gate %s is at step %d, which removed the number", what, a.gate, n)
		}
	case !errors.Is(err, store.ErrNotFound):
		t.Fatal(err)
	default:
		for n = (acked + 6) / 7 * 7; n%7 != 0; n++ { // removed by the step acknowledged or the next
		}
		if acked == 0 {
			n = 0
		}
	}
	if n < acked || n > acked+1 {
		t.Errorf("%s: gate %s is at step %d, acknowledged is %d", what, a.gate, n, acked)
	}
	for step := uint64(1); step <= acked+1; step++ {
		d, row := a.row(step)
		_, held, err := s.Lookup(t.Context(), "cafe", d, row.Blind)
		if want := step <= n && step%3 != 0; err != nil || held != want {
			t.Errorf("%s: gate %s at step %d, acknowledged %d: row of step %d held %v, %v", what, a.gate, n, acked, step, held, err)
		}
	}
}

// TestRowsAndTheirAccountsGoTogether cuts the power again and again while gates store rows with their accounts, and change
// the accounts alone in between; and cuts it once more right after each recovery.
func TestRowsAndTheirAccountsGoTogether(t *testing.T) {
	const lives, steps = 6, 40
	rng := rand.New(rand.NewPCG(7, 7))
	disk := vfs.NewCrashableMem()
	gates := make([]*accountant, 3)
	for i := range gates {
		gates[i] = &accountant{gate: visit.Gate(string(rune('a'+i)) + "-door")}
	}
	for life := range lives {
		s := testkit.Must(Open("/visits", Options{FS: disk}))(t)
		var mu sync.Mutex
		var image *vfs.MemFS
		acked := map[visit.Gate]uint64{}
		cutAt := 1 + rng.IntN(steps*len(gates)-1)
		var wg sync.WaitGroup
		done := 0
		for _, g := range gates {
			g.s = s
			wg.Go(func() {
				for range steps {
					if err := g.step(t); err != nil {
						t.Errorf("gate %s, step %d: %v", g.gate, g.n, err)
						return
					}
					mu.Lock()
					g.acked = g.n
					if done++; done == cutAt {
						image = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 90}[life%3], RNG: rng})
						for _, other := range gates {
							acked[other.gate] = other.acked
						}
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		testkit.Check(t, s.Close())
		s = testkit.Must(Open("/visits", Options{FS: image}))(t)
		for _, g := range gates {
			g.check(t, fmt.Sprintf("life %d", life), s, acked[g.gate])
		}
		again := image.CrashClone(vfs.CrashCloneCfg{})
		testkit.Check(t, s.Close())
		s = testkit.Must(Open("/visits", Options{FS: again}))(t)
		for _, g := range gates {
			g.check(t, fmt.Sprintf("life %d after a cut behind the recovery", life), s, acked[g.gate])
			if v, err := s.Get(t.Context(), "account", string(g.gate)); err == nil {
				g.held, g.n = v, binary.BigEndian.Uint64(v)
			} else {
				for g.held, g.n = nil, acked[g.gate]; g.n%7 != 0; g.n++ {
				}
			}
			g.acked = g.n
		}
		testkit.Check(t, s.Close())
		disk = again
	}
}

// What days carried for an earlier opening counts no more, although it lies in them still.
func TestWhatWasCarriedLongAgoIsNotPutBack(t *testing.T) {
	disk := vfs.NewCrashableMem()
	change := func(old, next string) store.Change {
		c := store.Change{Table: "gate", Key: "door", New: []byte(next)}
		if old != "" {
			c.Old = []byte(old)
		}
		return c
	}
	put := func(s *Store, d day.Day, n uint64, c store.Change) {
		t.Helper()
		account := func(int) ([]store.Change, error) { return []store.Change{c}, nil }
		testkit.Must(s.Put(t.Context(), "cafe", d, []store.Row{storetest.NewRow("door", d.Start(), n)}, account))(t)
	}
	s := testkit.Must(Open("/visits", Options{FS: disk}))(t)
	for n := range uint64(9) { // the highest order of all
		old := ""
		if n > 0 {
			old = fmt.Sprint("first", n-1)
		}
		put(s, benchDay, n, change(old, fmt.Sprint("first", n)))
	}
	testkit.Check(t, s.Close())
	s = testkit.Must(Open("/visits", Options{FS: disk}))(t)
	put(s, benchDay+1, 1, change("first8", "second"))
	account := func(int) ([]store.Change, error) {
		return []store.Change{{Table: "gate", Key: "other", New: []byte("x")}}, nil
	}
	testkit.Must(s.Put(t.Context(), "cafe", benchDay, []store.Row{storetest.NewRow("door", benchDay.Start(), 100)}, account))(t)
	image := disk.CrashClone(vfs.CrashCloneCfg{})
	testkit.Check(t, s.Close())
	s = testkit.Must(Open("/visits", Options{FS: image}))(t)
	defer func() { testkit.Check(t, s.Close()) }()
	if v, err := s.Get(t.Context(), "gate", "door"); err != nil || string(v) != "second" {
		t.Errorf("the register holds %q, %v", v, err)
	}
}
