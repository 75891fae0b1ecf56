package embedded

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/visitserver/store"
)

// Rows of a damaged day are given out as far as its files can be read, in order and each once, and counted likewise; whether its
// database opens, does not open, or was set aside.
func TestRowsOfADamagedDayAreReadAsFarAsTheyCanBe(t *testing.T) {
	const all = 3 * partOfADay
	spoil := func(from, to float64) func(t *testing.T, dir, older string) {
		return func(t *testing.T, dir, _ string) {
			for _, path := range files(t, dir, "*.sst")[:1] {
				b := testkit.Must(os.ReadFile(path))(t)
				for i := int(from * float64(len(b))); i < int(to*float64(len(b))); i++ {
					b[i] ^= 0x5a
				}
				testkit.Check(t, os.WriteFile(path, b, 0o600))
			}
		}
	}
	for rule, c := range map[string]struct {
		damage func(t *testing.T, dir, older string)
		least  int
	}{
		"the manifest is empty":         {losses["the manifest is empty"], all},
		"the manifest is gone":          {losses["the manifest is gone"], all},
		"the manifest's marker is gone": {losses["the manifest's marker is gone"], all},
		"the manifest is cut at half":   {losses["the manifest is cut at half"], all},
		"the manifest's tail is cut":    {losses["the manifest's tail is cut"], all},
		"an older copy of the manifest": {losses["an older copy of the manifest"], all},
		"the log is empty":              {losses["the log is empty"], all - partOfADay},
		"the log is cut at half":        {losses["the log is cut at half"], all - partOfADay},
		"a table is gone":               {func(t *testing.T, dir, _ string) { testkit.Check(t, os.Remove(files(t, dir, "*.sst")[0])) }, all - partOfADay},
		"a table's rows are damaged":    {spoil(0.1, 0.3), all - partOfADay},
		"a table's end is damaged":      {spoil(0.9, 1), all - partOfADay},
	} {
		t.Run(rule, func(t *testing.T) {
			dir := t.TempDir()
			older := t.TempDir()
			path := filepath.Join(dir, "days", benchDay.String())
			threeParts(t, dir, func() { testkit.Check(t, os.CopyFS(older, os.DirFS(path))) })
			c.damage(t, path, older)
			s := openIn(t, dir)
			readable(t, s, "before rows are put", c.least, all)
			testkit.Must(s.Put(t.Context(), "cafe", benchDay, someRows("door", 5*partOfADay, 10), nil))(t)
			readable(t, s, "afterwards", c.least+10, all+10)
			testkit.Check(t, s.Close())
			s = openIn(t, dir)
			readable(t, s, "opened again", c.least+10, all+10)
			testkit.Must(s.Put(t.Context(), "cafe", benchDay, someRows("door", 0, all), nil))(t)
			readable(t, s, "when all have come again", all+10, all+10)
			testkit.Must(s.Retire(t.Context(), benchDay))(t)
			if n, err := within(t, s, benchDay); n != 0 || err != nil {
				t.Errorf("of the retired day %d visits are given out, %v", n, err)
			}
			testkit.Check(t, s.Close())
		})
	}
}

func readable(t *testing.T, s *Store, when string, least, all int) {
	t.Helper()
	var rows []store.Row
	var fault error
	for r, err := range s.Window(t.Context(), "cafe", benchDay, benchDay.Start(), (benchDay + 1).Start()) {
		if fault = err; err == nil {
			rows = append(rows, r)
		}
	}
	if len(rows) < least || (len(rows) < all || fault != nil) && !errors.Is(fault, store.ErrDamaged) {
		t.Errorf("%s: %d visits of %d, %v", when, len(rows), all, fault)
	}
	if !slices.IsSortedFunc(rows, func(a, b store.Row) int { return a.At.Compare(b.At) }) {
		t.Errorf("%s: not in order", when)
	}
	seen := map[store.Blind]bool{}
	for _, r := range rows {
		if seen[r.Blind] {
			t.Errorf("%s: a visit is there twice", when)
		}
		seen[r.Blind] = true
	}
	counts, err := s.Counts(t.Context(), "cafe", benchDay)
	var n uint64
	for _, c := range counts {
		n += c.N
	}
	if err != nil && !errors.Is(err, store.ErrDamaged) || n < uint64(least) {
		t.Errorf("%s: counted %d of %d at least, %v", when, n, least, err)
	}
}

// A few damaged bytes in the middle of a table cost the rows around them and none behind.
func TestRowsBehindADamagedBlockAreRead(t *testing.T) {
	const all, most = 2000, 1900
	dir := t.TempDir()
	s := testkit.Must(Open(dir, Options{}))(t)
	rows := someRows("door", 0, all)
	for i := range rows {
		rows[i].At = benchDay.Start().Add(time.Duration(i) * 40 * time.Second)
	}
	testkit.Must(s.Put(t.Context(), "cafe", benchDay, rows, nil))(t)
	testkit.Check(t, s.days[benchDay].db.Flush())
	testkit.Check(t, s.Close())
	table := files(t, filepath.Join(dir, "days", benchDay.String()), "*.sst")[0]
	b := testkit.Must(os.ReadFile(table))(t)
	for i := range 20 {
		b[len(b)*2/5+i] ^= 0x5a
	}
	testkit.Check(t, os.WriteFile(table, b, 0o600))
	s = openIn(t, dir)
	readable(t, s, "with a damaged block", most, all)
	testkit.Check(t, s.Close())
}
