package embedded

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/visitserver/store"
)

// partOfADay is how many visits lie in each table of a day, and as many in its log.
const partOfADay = 50

// losses are what takes visits from a day's folder. older is a copy of the folder from when it held one table less.
var losses = map[string]func(t *testing.T, dir, older string){
	"the folder is gone":            func(t *testing.T, dir, _ string) { testkit.Check(t, os.RemoveAll(dir)) },
	"an older copy of the folder":   func(t *testing.T, dir, older string) { putBack(t, dir, older, "*") },
	"an older copy of the manifest": func(t *testing.T, dir, older string) { putBack(t, dir, older, "MANIFEST-*") },
	"an older copy of the log":      func(t *testing.T, dir, _ string) { shorten(t, dir, "*.log", 0.7) },
	"the log is gone":               func(t *testing.T, dir, _ string) { remove(t, dir, "*.log") },
	"the log is empty":              func(t *testing.T, dir, _ string) { shorten(t, dir, "*.log", 0) },
	"the log's tail is cut":         func(t *testing.T, dir, _ string) { shorten(t, dir, "*.log", 0.97) },
	"the log is cut at half":        func(t *testing.T, dir, _ string) { shorten(t, dir, "*.log", 0.5) },
	"the manifest's tail is cut":    func(t *testing.T, dir, _ string) { shorten(t, dir, "MANIFEST-*", 0.97) },
	"the manifest is cut at half":   func(t *testing.T, dir, _ string) { shorten(t, dir, "MANIFEST-*", 0.5) },
	"the manifest is empty":         func(t *testing.T, dir, _ string) { shorten(t, dir, "MANIFEST-*", 0) },
	"the manifest is gone":          func(t *testing.T, dir, _ string) { remove(t, dir, "MANIFEST-*") },
	"the manifest's marker is gone": func(t *testing.T, dir, _ string) { remove(t, dir, "marker.manifest*") },
	"a table is gone":               func(t *testing.T, dir, _ string) { remove(t, dir, "*.sst") },
	"all files are gone":            func(t *testing.T, dir, _ string) { remove(t, dir, "*") },
}

// What a day has lost is told by who asks for its visits, in the log and to the operator, whether somebody else puts visits into
// it before or not; and for as long as there is anything of the day.
func TestVisitsThatADayHasLostAreTold(t *testing.T) {
	for rule, lose := range losses {
		t.Run(rule, func(t *testing.T) { lostVisits(t, lose, false) })
		t.Run(rule+", and it is put into", func(t *testing.T) { lostVisits(t, lose, true) })
	}
}

func lostVisits(t *testing.T, lose func(t *testing.T, dir, older string), put bool) {
	dir, older := t.TempDir(), t.TempDir()
	path := filepath.Join(dir, "days", benchDay.String())
	threeParts(t, dir, func() { testkit.Check(t, os.CopyFS(older, os.DirFS(path))) })
	lose(t, path, older)
	logger, log := testkit.NewLogger()
	open := func() *Store { return testkit.Must(Open(dir, Options{Logger: logger}))(t) }
	s := open()
	if put {
		testkit.Must(s.Put(t.Context(), "cafe", benchDay, someRows("door", 5*partOfADay, 1), nil))(t)
		testkit.Check(t, s.Close())
		s = open()
	}
	defer func() { testkit.Check(t, s.Close()) }()
	n, err := within(t, s, benchDay)
	if err == nil && n >= 3*partOfADay {
		return // the log of a table that the manifest knows no more was there still
	}
	if !errors.Is(err, store.ErrDamaged) {
		told := testkit.Must(s.SetAside(t.Context()))(t)
		if !slices.Contains(told, benchDay) {
			t.Fatalf("%d visits of %d, complete: %v", n, 3*partOfADay, err)
		}
	}
	for what, days := range map[string][]day.Day{"shown": testkit.Must(s.SetAside(t.Context()))(t), "held": testkit.Must(s.Days(t.Context()))(t)} {
		if !slices.Contains(days, benchDay) {
			t.Errorf("%s are %v", what, days)
		}
	}
	if !strings.Contains(log.String(), benchDay.String()) {
		t.Errorf("the log does not tell: %s", log)
	}
	if tally := testkit.Must(s.Retire(t.Context(), benchDay))(t); !put && !tally.Uncounted {
		t.Errorf("retired as %+v", tally)
	}
	testkit.Check(t, s.Drop(t.Context(), benchDay))
	for what, days := range map[string][]day.Day{"shown": testkit.Must(s.SetAside(t.Context()))(t), "held": testkit.Must(s.Days(t.Context()))(t)} {
		if len(days) > 0 {
			t.Errorf("when all is dropped, %s are %v", what, days)
		}
	}
}

// A power cut takes from the register how many visits it knew of, and a day is as whole as before; what it loses afterwards is
// told.
func TestWhatTheRegisterHasLostIsLearntAnew(t *testing.T) {
	dir, older := t.TempDir(), t.TempDir()
	path := filepath.Join(dir, "days", benchDay.String())
	threeParts(t, dir, func() { testkit.Check(t, os.CopyFS(older, os.DirFS(path))) })
	s := openIn(t, dir)
	testkit.Check(t, s.register.Delete(dayKey('n', benchDay), nil))
	for range 2 {
		if n, err := within(t, s, benchDay); n != 3*partOfADay || err != nil {
			t.Errorf("%d visits, %v", n, err)
		}
		testkit.Check(t, s.Close())
		s = openIn(t, dir)
	}
	testkit.Check(t, s.Close())
	putBack(t, path, older, "*") // which nothing else tells
	s = openIn(t, dir)
	defer func() { testkit.Check(t, s.Close()) }()
	if _, err := within(t, s, benchDay); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("the day is complete: %v", err)
	}
}

// threeParts makes a day of two tables and a log. Between the tables it calls f.
func threeParts(t *testing.T, dir string, f func()) {
	t.Helper()
	s := testkit.Must(Open(dir, Options{Tune: small}))(t)
	for n := range 3 {
		testkit.Must(s.Put(t.Context(), "cafe", benchDay, someRows("door", n*partOfADay, partOfADay), nil))(t)
		if n < 2 {
			testkit.Check(t, s.days[benchDay].db.Flush())
		}
		if n == 0 {
			f()
		}
	}
	testkit.Check(t, s.Close())
}

// files are those of a folder whose names match, the lock left out.
func files(t *testing.T, dir, pattern string) []string {
	t.Helper()
	paths := testkit.Must(filepath.Glob(filepath.Join(dir, pattern)))(t)
	paths = slices.DeleteFunc(paths, func(path string) bool { return filepath.Base(path) == "LOCK" })
	if len(paths) == 0 {
		t.Fatalf("no file %s in %s", pattern, dir)
	}
	return paths
}

func remove(t *testing.T, dir, pattern string) {
	for _, path := range files(t, dir, pattern) {
		testkit.Check(t, os.Remove(path))
	}
}

func shorten(t *testing.T, dir, pattern string, part float64) {
	for _, path := range files(t, dir, pattern) {
		size := testkit.Must(os.Stat(path))(t).Size()
		testkit.Check(t, os.Truncate(path, int64(float64(size)*part)))
	}
}

func putBack(t *testing.T, dir, older, pattern string) {
	if pattern == "*" {
		testkit.Check(t, os.RemoveAll(dir))
		testkit.Check(t, os.MkdirAll(dir, 0o700))
	}
	for _, path := range files(t, older, pattern) {
		b := testkit.Must(os.ReadFile(path))(t)
		testkit.Check(t, os.WriteFile(filepath.Join(dir, filepath.Base(path)), b, fs.FileMode(0o600)))
	}
}
