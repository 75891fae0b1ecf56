package embedded

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/visitserver/store"
	"github.com/kipass/kipass/visitserver/store/storetest"
)

func openIn(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t,
		func(t *testing.T) store.Store { return openIn(t, t.TempDir()) },
		func(t *testing.T, s store.Store) store.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return openIn(t, s.(*Store).dir)
		})
}

func TestOneProcessHoldsAFolder(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir)
	defer s.Close()
	if second, err := Open(dir, Options{}); err == nil {
		_ = second.Close()
		t.Fatal("a folder in use was opened again")
	}
}

// Days that somebody makes up cost no memory, however many there are; what is of other days is found all the same.
func TestDaysThatAreAskedForAreNotKept(t *testing.T) {
	s := openIn(t, t.TempDir())
	defer s.Close()
	real := day.Day(18_000)
	at := real.Start().Add(time.Hour)
	testkit.Must(s.Put(t.Context(), "cafe", real, []store.Row{storetest.NewRow("door", at, 1)}, nil))(t)
	for rule, ask := range map[string]func(d day.Day) (found int, err error){
		"counts": func(d day.Day) (int, error) {
			counts, err := s.Counts(t.Context(), "cafe", d)
			return len(counts), err
		},
		"a window": func(d day.Day) (found int, err error) {
			for _, err = range s.Window(t.Context(), "cafe", d, d.Start(), d.Start().Add(24*time.Hour)) {
				found++
			}
			return found, err
		},
		"a row": func(d day.Day) (int, error) {
			_, stored, err := s.Lookup(t.Context(), "cafe", d, storetest.NewRow("door", at, 1).Blind)
			return map[bool]int{true: 1}[stored], err
		},
		"a code": func(d day.Day) (int, error) {
			found, err := s.Elsewhere(t.Context(), "club", d, []store.Blind{storetest.NewRow("door", at, 1).Blind})
			return len(found), err
		},
	} {
		for d := range day.Day(1000) {
			if n, err := ask(d); n != 0 || err != nil {
				t.Fatalf("%s of %v: %d, %v", rule, d, n, err)
			}
		}
		if n, err := ask(real); n != 1 || err != nil {
			t.Errorf("%s of a day that is there: %d, %v", rule, n, err)
		}
		if len(s.days) != 1 {
			t.Errorf("after %s of days that there are not, %d days are kept in memory", rule, len(s.days))
		}
	}
}

func TestStraysAmongTheDaysAreSkippedAndShown(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir)
	defer s.Close()
	var want []string
	for _, stray := range []string{"days/backup", "days/lost+found", "days/2020-07-01 (copy)", "days/._2020-07-01", "aside/lost+found", "aside/2020-07-01"} {
		want = append(want, filepath.Join(dir, stray))
		testkit.Check(t, os.Mkdir(filepath.Join(dir, stray), 0o700))
	}
	if days, err := s.Days(t.Context()); err != nil || len(days) != 0 {
		t.Errorf("days %v, %v", days, err)
	}
	if days, err := s.SetAside(t.Context()); err != nil || len(days) != 0 {
		t.Errorf("days set aside %v, %v", days, err)
	}
	got, err := s.Strays(t.Context())
	slices.Sort(got)
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("strays %q, %v; want %q", got, err, want)
	}
}

// TestADamagedDayIsRetiredAndDropped: its counts are lost, it is not kept for that.
func TestADamagedDayIsRetiredAndDropped(t *testing.T) {
	for rule, damage := range map[string]func(t *testing.T, path string){
		"no database": func(t *testing.T, path string) {
			testkit.Check(t, os.RemoveAll(path))
			testkit.Check(t, os.WriteFile(path, []byte("x"), 0o600))
		},
		"no manifest": func(t *testing.T, path string) {
			for _, m := range testkit.Must(filepath.Glob(filepath.Join(path, "MANIFEST-*")))(t) {
				testkit.Check(t, os.Truncate(m, 0))
			}
		},
	} {
		t.Run(rule, func(t *testing.T) {
			dir := t.TempDir()
			s := openIn(t, dir)
			d := day.Of(time.Unix(1_600_000_000, 0))
			row := store.Row{At: d.Start(), Gate: "door", Sealed: []byte("x")}
			testkit.Must(s.Put(t.Context(), "cafe", d, []store.Row{row}, nil))(t)
			testkit.Check(t, s.Close())
			path := filepath.Join(dir, "days", d.String())
			damage(t, path)
			s = openIn(t, dir)
			if n, err := s.Stored(t.Context(), "cafe"); err != nil || n != 0 {
				t.Errorf("stored %d, %v; want that the damaged day is left out", n, err)
			}
			tally, err := s.Retire(t.Context(), d)
			if err != nil || !tally.Uncounted || tally.Visits != 0 {
				t.Fatalf("retired as %+v, %v", tally, err)
			}
			testkit.Check(t, s.Drop(t.Context(), d))
			testkit.Check(t, s.Close())
			s = openIn(t, dir)
			defer s.Close()
			if again, err := s.Retire(t.Context(), d); err != nil || again != tally {
				t.Errorf("again: %+v, %v", again, err)
			}
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it is still there, %v", err)
			}
		})
	}
}
