package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/visitserver/store"
)

const damagedRows = 100 // that lie in each table of the damaged day, and as many in its log

// damages are what a disk does to a file.
var damages = map[string]func(b []byte, rng *rand.Rand) []byte{
	"empty":           func([]byte, *rand.Rand) []byte { return nil },
	"cut at half":     func(b []byte, _ *rand.Rand) []byte { return b[:len(b)/2] },
	"a byte too long": func(b []byte, _ *rand.Rand) []byte { return append(b, 0) },
	"all zero":        func(b []byte, _ *rand.Rand) []byte { return make([]byte, len(b)) },
	"zero behind":     func(b []byte, _ *rand.Rand) []byte { clear(b[len(b)*3/4:]); return b },
	"a bit of the first bytes": func(b []byte, rng *rand.Rand) []byte {
		return turned(b, 1, func() int { return rng.IntN(min(len(b), 16)) }, rng)
	},
	"a bit of the last bytes": func(b []byte, rng *rand.Rand) []byte {
		return turned(b, 1, func() int { return len(b) - 1 - rng.IntN(min(len(b), 64)) }, rng)
	},
	"a bit somewhere": func(b []byte, rng *rand.Rand) []byte {
		return turned(b, 1, func() int { return rng.IntN(len(b)) }, rng)
	},
	"a bit of a name": func(b []byte, _ *rand.Rand) []byte {
		return bytes.ReplaceAll(b, []byte("kipass.sum"), []byte("kipass.stm"))
	},
	"many bits": func(b []byte, rng *rand.Rand) []byte {
		return turned(b, 20, func() int { return rng.IntN(len(b)) }, rng)
	},
}

func turned(b []byte, n int, where func() int, rng *rand.Rand) []byte {
	for range n {
		if len(b) > 0 {
			b[where()] ^= 1 << rng.IntN(8)
		}
	}
	return b
}

// Whatever of a day's files is damaged in whatever way, while nobody uses the day or while somebody does: other days are as
// they were, and the day takes visits and counts.
func TestNoDamageOfADayHoldsAnythingUp(t *testing.T) {
	for _, rule := range slices.Sorted(maps.Keys(damages)) {
		for _, open := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, open %v", rule, open), func(t *testing.T) { damageEachFile(t, damages[rule], open) })
		}
	}
}

func damageEachFile(t *testing.T, damage func([]byte, *rand.Rand) []byte, open bool) {
	rng := rand.New(rand.NewPCG(1, 2))
	for n := 0; ; n++ {
		disk := vfs.NewMem()
		s := damageable(t, disk)
		if !open {
			testkit.Check(t, s.Close())
		}
		dir := filepath.Join("/visits/days", benchDay.String())
		names := testkit.Must(disk.List(dir))(t)
		slices.Sort(names)
		names = slices.DeleteFunc(names, func(name string) bool { return name == "LOCK" })
		if n >= len(names) {
			if open {
				testkit.Check(t, s.Close())
			}
			return
		}
		path := filepath.Join(dir, names[n])
		if open {
			overwrite(t, disk, path, func(b []byte) []byte { return damage(b, rng) })
		} else {
			writeFile(t, disk, path, damage(readFile(t, disk, path), rng))
		}
		if !open {
			s = testkit.Must(Open("/visits", Options{FS: disk, Cache: 1, Tune: small}))(t)
		}
		t.Run(names[n], func(t *testing.T) { damagedDay(t, s) })
		if err := s.Close(); err != nil && !damaged(err) {
			t.Errorf("%s: closing: %v", names[n], err)
		}
		s = testkit.Must(Open("/visits", Options{FS: disk, Cache: 1, Tune: small}))(t)
		t.Run(names[n]+" opened again", func(t *testing.T) { damagedDay(t, s) })
		if err := s.Close(); err != nil && !damaged(err) {
			t.Errorf("%s: closing again: %v", names[n], err)
		}
	}
}

// overwrite changes a file that is in use, so that whoever has it open reads the new content. It keeps its length: what was cut
// off is zero. One that the database has removed meanwhile stays as it is.
func overwrite(t *testing.T, disk *vfs.MemFS, path string, change func([]byte) []byte) {
	t.Helper()
	f, err := disk.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	testkit.Check(t, err)
	whole := make([]byte, testkit.Must(f.Stat())(t).Size())
	if len(whole) > 0 {
		testkit.Must(f.ReadAt(whole, 0))(t)
	}
	changed := change(bytes.Clone(whole))
	clear(whole)
	copy(whole, changed)
	testkit.Must(f.WriteAt(whole, 0))(t)
	testkit.Check(t, f.Close())
}

func small(o *pebble.Options) { o.MemTableSize = 256 << 10 }

// damageable has a day of two tables and a log, and a whole one beside it.
func damageable(t *testing.T, disk vfs.FS) *Store {
	t.Helper()
	s := testkit.Must(Open("/visits", Options{FS: disk, Cache: 1, Tune: small}))(t)
	for n := range 3 {
		testkit.Must(s.Put(t.Context(), "cafe", benchDay, someRows("door", n*damagedRows, damagedRows), nil))(t)
		if n < 2 {
			testkit.Check(t, s.days[benchDay].db.Flush())
		}
	}
	testkit.Must(s.Put(t.Context(), "cafe", benchDay+1, nextDay(0, damagedRows), nil))(t)
	return s
}

func nextDay(first, n int) []store.Row {
	rows := someRows("door", first, n)
	for i := range rows {
		rows[i].At = (benchDay + 1).Start()
	}
	return rows
}

func damagedDay(t *testing.T, s *Store) {
	if _, err := s.Stored(t.Context(), "cafe"); err != nil {
		t.Errorf("counting visits: %v", err)
	}
	if n, err := within(t, s, benchDay+1); err != nil || n < damagedRows {
		t.Errorf("the other day has %d visits: %v", n, err)
	}
	if n, err := within(t, s, benchDay); err != nil && !errors.Is(err, store.ErrDamaged) {
		t.Errorf("the day has %d visits: %v", n, err)
	}
	known := someRows("door", 0, 3*damagedRows)
	codes := []store.Blind{known[0].Blind, known[damagedRows].Blind, known[2*damagedRows].Blind}
	if _, err := s.Elsewhere(t.Context(), "gym", benchDay, codes); err != nil {
		t.Errorf("looking codes up: %v", err)
	}
	fresh := someRows("door", 5*damagedRows, 3)
	for _, rows := range [][]store.Row{fresh, known} {
		if _, err := s.Put(t.Context(), "cafe", benchDay, rows, nil); err != nil {
			t.Errorf("storing visits: %v", err)
		}
	}
	testkit.Must(s.Put(t.Context(), "cafe", benchDay+1, nextDay(5*damagedRows, 3), nil))(t)
	for _, r := range fresh {
		if _, held, err := s.Lookup(t.Context(), "cafe", benchDay, r.Blind); !held || err != nil {
			t.Errorf("a new visit is held: %v, %v", held, err)
		}
	}
	if _, err := s.Counts(t.Context(), "cafe", benchDay); err != nil && !errors.Is(err, store.ErrDamaged) {
		t.Errorf("counts: %v", err)
	}
}

func within(t *testing.T, s *Store, d day.Day) (n int, fault error) {
	for _, err := range s.Window(t.Context(), "cafe", d, d.Start(), (d + 1).Start()) {
		if fault = err; err == nil {
			n++
		}
	}
	return n, fault
}
