package issuer

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/day"
)

// threeDays gives out a code on each of three days and returns the first.
func (f *fixture) threeDays(t *testing.T) day.Day {
	t.Helper()
	bearer := f.register(t, testName)
	for range 3 {
		f.code(t, bearer)
		f.clock.Set(f.clock.Now().AddDate(0, 0, 1))
	}
	return day.Of(noon)
}

// keyless is what must hold of a day whatever else fails: its key is gone.
func (f *fixture) keyless(t *testing.T, d day.Day) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(f.dir, "keys", d.String()+".key")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the key of %v is there, %v", d, err)
	}
	if _, err := f.keys.Key(d); !errors.Is(err, daykey.ErrNoKey) {
		t.Errorf("the key of %v: %v", d, err)
	}
}

// TestEachDayIsDestroyedByItself: strays stop nothing and stay, and a day that cannot be destroyed holds up no other.
func TestEachDayIsDestroyedByItself(t *testing.T) {
	second := (day.Of(noon) + 1).String()
	for _, c := range []struct {
		rule  string
		spoil func(t *testing.T, dir string)
		held  bool   // the second day stays, without its key
		stray string // stays and is told
	}{
		{"lost+found", func(t *testing.T, dir string) {
			testkit.Check(t, os.Mkdir(filepath.Join(dir, "days", "lost+found"), 0o700))
		}, false, "lost+found"},
		{"what a network file system leaves", func(t *testing.T, dir string) {
			testkit.Check(t, os.WriteFile(filepath.Join(dir, "days", ".nfs0000000000000001.db"), nil, 0o600))
		}, false, ".nfs0000000000000001.db"},
		{"what a file manager leaves", func(t *testing.T, dir string) {
			testkit.Check(t, os.WriteFile(filepath.Join(dir, "keys", "._"+second+".key"), nil, 0o600))
		}, false, "._" + second + ".key"},
		{"a copy", func(t *testing.T, dir string) {
			testkit.Check(t, os.WriteFile(filepath.Join(dir, "days", second+" (copy).db"), nil, 0o600))
		}, false, second + " (copy).db"},
		{"a damaged issue log", func(t *testing.T, dir string) {
			testkit.Check(t, os.WriteFile(filepath.Join(dir, "days", second+".db"), []byte("torn"), 0o600))
		}, false, ""},
		{"an issue log damaged inside", func(t *testing.T, dir string) {
			f := testkit.Must(os.OpenFile(filepath.Join(dir, "days", second+".db"), os.O_WRONLY, 0))(t)
			defer f.Close()
			info := testkit.Must(f.Stat())(t)
			page := int64(os.Getpagesize())
			testkit.Must(f.WriteAt([]byte(strings.Repeat("x", int(info.Size()-2*page))), 2*page))(t) // all but the meta pages
		}, false, ""},
		{"a damaged key", func(t *testing.T, dir string) {
			testkit.Check(t, os.WriteFile(filepath.Join(dir, "keys", second+".key"), []byte("torn"), 0o600))
		}, false, ""},
		{"a folder in place of an issue log", func(t *testing.T, dir string) {
			path := filepath.Join(dir, "days", second+".db")
			testkit.Check(t, os.Remove(path))
			testkit.Check(t, os.MkdirAll(filepath.Join(path, "x"), 0o700))
		}, true, ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			f := newFixture(t)
			first := f.threeDays(t)
			f.close(t)
			c.spoil(t, f.dir)
			logger, log := testkit.NewLogger()
			f.reopen(t, durable.Disk{})
			f.opts.Logger = logger
			f.clock.Set((first + 2).DestroyAt())
			if err := f.Destroy(); (err != nil) != c.held {
				t.Errorf("Destroy: %v", err)
			}
			for d := first; d <= first+2; d++ {
				f.keyless(t, d)
				if _, logged := f.tombstones(t)[d.String()]; !logged {
					t.Errorf("the log does not tell of the end of %v", d)
				}
			}
			if left := testkit.Must(f.remaining())(t); (len(left) > 0) != c.held {
				t.Errorf("days left: %v", left)
			}
			f.tellStrays()
			if c.stray != "" && !strings.Contains(log.String(), c.stray) {
				t.Errorf("the log does not tell of %s: %s", c.stray, log)
			}
		})
	}
}

// TestDaysAreDestroyedOnAFullDisk: keys go without any write before them, and what has to be written is made up for later.
func TestDaysAreDestroyedOnAFullDisk(t *testing.T) {
	disk := testkit.NewSmallDisk(t, 16<<20)
	f := newFixtureIn(t, filepath.Join(disk.Path, "issuer"))
	first := f.threeDays(t)
	disk.Fill()
	f.clock.Set((first + 2).DestroyAt())
	err := f.Destroy()
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Destroy: %v", err)
	}
	for d := first; d <= first+2; d++ {
		f.keyless(t, d)
	}
	disk.Empty()
	testkit.Check(t, f.Destroy())
	for d := first; d <= first+2; d++ {
		f.gone(t, d, 1)
	}
}

func TestWhatIsOverdueIsAnAlarm(t *testing.T) {
	f := newFixture(t)
	first := f.threeDays(t)
	logger, log := testkit.NewLogger()
	f.opts.Logger = logger
	metrics := func(want string) {
		t.Helper()
		w := httptest.NewRecorder()
		f.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, PathMetrics, nil))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "\n"+want+"\n") {
			t.Errorf("metrics: status %d, %s; want %s", w.Code, w.Body, want)
		}
	}
	metrics("kipass_issuer_overdue_seconds 0")
	metrics("kipass_issuer_oldest_kept_seconds 302400") // 84 hours since the midnight before the first noon
	f.alarm(nil)
	f.clock.Set(first.DestroyAt().Add(90 * 60e9))
	metrics("kipass_issuer_overdue_seconds 5400")
	f.alarm(nil)
	f.alarm(nil)
	if n := log.Count("a day is kept past its end"); n != 1 || !strings.Contains(log.String(), "day="+first.String()) {
		t.Errorf("told %d times: %s", n, log)
	}
	testkit.Check(t, f.Destroy())
	metrics("kipass_issuer_overdue_seconds 0")
}
