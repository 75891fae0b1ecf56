package visitserver

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/day"
)

// TestEachDayIsDestroyedByItself: strays stop nothing, stay and are shown; a day that cannot be destroyed holds up no other.
func TestEachDayIsDestroyedByItself(t *testing.T) {
	second := day.Of(noon).String()
	mkdir := func(path ...string) func(*testing.T, Folder) {
		return func(t *testing.T, f Folder) { testkit.Check(t, os.MkdirAll(f.path(path...), 0o700)) }
	}
	file := func(path ...string) func(*testing.T, Folder) {
		return func(t *testing.T, f Folder) { testkit.Check(t, os.WriteFile(f.path(path...), []byte("x"), 0o600)) }
	}
	for _, c := range []struct {
		rule  string
		spoil func(*testing.T, Folder)
		stray string // stays and is shown
		held  bool   // the second day cannot be destroyed yet
	}{
		{"lost+found among the rows", mkdir("visits", "days", "lost+found"), "visits/days/lost+found", false},
		{"a copy of a day", mkdir("visits", "days", second+" (copy)"), "visits/days/" + second + " (copy)", false},
		{"lost+found among the keys", mkdir("keys", "days", "lost+found"), "keys/days/lost+found", false},
		{"lost+found among the sealing keys", mkdir("keys", "seal", "lost+found"), "keys/seal/lost+found", false},
		{"what a network file system leaves", file("keys", "days", ".nfs01"), "keys/days/.nfs01", false},
		{"what a file manager leaves", file("keys", "days", "._"+second+".key"), "keys/days/._" + second + ".key", false},
		{"a copy of a key", file("keys", "days", second+" (copy).key"), "keys/days/" + second + " (copy).key", false},
		{"lost+found among what was set aside", mkdir("visits", "aside", "lost+found"), "visits/aside/lost+found", false},
		{"a copy among what was set aside", file("visits", "aside", second+".key~"), "visits/aside/" + second + ".key~", false},
		{"a damaged key", file("keys", "days", second+".key"), "", false},
		{"a damaged database", func(t *testing.T, f Folder) {
			for _, m := range testkit.Must(filepath.Glob(f.path("visits", "days", second, "MANIFEST-*")))(t) {
				testkit.Check(t, os.Truncate(m, 0))
			}
		}, "", false},
		{"a file in place of a database", func(t *testing.T, f Folder) {
			testkit.Check(t, os.RemoveAll(f.path("visits", "days", second)))
			file("visits", "days", second)(t, f)
		}, "", false},
		{"a key that cannot be erased", func(t *testing.T, f Folder) {
			testkit.Check(t, os.Remove(f.path("keys", "days", second+".key")))
			mkdir("keys", "days", second+".key", "x")(t, f)
		}, "", true},
	} {
		t.Run(c.rule, func(t *testing.T) {
			fx := newDamagedFixture(t)
			c.spoil(t, fx.folder)
			fx.start()
			l := fx.ledger()
			if c.stray != "" && !slices.Equal(l.Strays, []string{fx.folder.path(c.stray)}) || c.stray == "" && len(l.Strays) != 0 {
				t.Errorf("the ledger shows strays %q, want %q", l.Strays, c.stray)
			}
			if l.Oldest == nil || l.Oldest.Day != (fx.day-1).String() || l.Oldest.Overdue != "" {
				t.Errorf("the oldest day is %+v", l.Oldest)
			}
			fx.clock.Set((fx.day + 1).DestroyAt().Add(time.Hour))
			err := fx.tryAdmin(nil, AdminRequest{Command: "destroy"})
			if (err != nil) != c.held {
				t.Errorf("destroy: %v", err)
			}
			l = fx.ledger()
			want := []string{(fx.day - 1).String(), second, (fx.day + 1).String()}
			if c.held {
				want = slices.Delete(want, 1, 2)
				if l.Oldest == nil || l.Oldest.Day != second || l.Oldest.Overdue != "25h0m0s" {
					t.Errorf("the ledger does not tell what is overdue: %+v", l.Oldest)
				}
			} else if l.Oldest != nil {
				t.Errorf("left: %+v", l.Oldest)
			}
			var got []string
			for _, stone := range l.Destroyed {
				got = append(got, stone.Day)
			}
			if !slices.Equal(got, want) {
				t.Errorf("destroyed %v, want %v", got, want)
			}
			if left := testkit.Must(filepath.Glob(fx.folder.path("visits", "days", "????-??-??")))(t); len(left) != 0 {
				t.Errorf("rows left: %q", left)
			}
			if c.stray != "" {
				if !exists(t, fx.folder.path(c.stray)) {
					t.Error("the stray is gone")
				}
			}
		})
	}
}

// TestKeysGoOnAFullDisk: keys go without any write before them, and what has to be written is made up for later.
func TestKeysGoOnAFullDisk(t *testing.T) {
	disk := testkit.NewSmallDisk(t, 16<<20)
	fx := &fixture{t: t, folder: Folder{Dir: filepath.Join(disk.Path, "v")}, clock: testkit.NewClock(noon), wake: make(chan time.Time), log: &testkit.Buffer{}}
	testkit.Check(t, fx.folder.Init([]string{"localhost", "127.0.0.1"}, fx.clock.Now()))
	testkit.Check(t, os.Symlink(t.TempDir(), fx.folder.Visits())) // the database ends the program when its disk fails it
	fx.start()
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	first := day.Of(noon)
	for range 3 {
		g.journalled(newVisit(fx.clock.Now()))
		g.deliver()
		fx.clock.Add(24 * time.Hour)
	}
	fx.stop()
	s, parts := opened(t, fx.folder, fx.clock)
	keysLeft := func() []string { return testkit.Must(filepath.Glob(fx.folder.path("keys", "days", "*.key")))(t) }
	s.step = func(step string) {
		if left := keysLeft(); step == "retired" && len(left) != 0 {
			t.Errorf("keys are left as the store is first written to: %q", left)
		}
	}
	disk.Fill()
	fx.clock.Set((first + 2).DestroyAt())
	if _, err := s.DestroyDue(t.Context()); err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("on a full disk: %v", err)
	}
	if left := keysLeft(); len(left) != 0 {
		t.Errorf("keys left on a full disk: %q", left)
	}
	disk.Empty()
	if _, err := s.DestroyDue(t.Context()); err != nil {
		t.Errorf("with space again: %v", err)
	}
	if l, err := s.Ledger(t.Context()); err != nil || len(l.Destroyed) != 3 || l.Oldest != nil || l.Facilities[0].Stored != 3 {
		t.Errorf("ledger %+v, %v", l, err)
	}
	testkit.Check(t, parts.close())
}

// TestWhatIsOverdueIsAnAlarm: in the ledger, in the metrics and in the log, once an hour.
func TestWhatIsOverdueIsAnAlarm(t *testing.T) {
	fx := newDamagedFixture(t)
	testkit.Check(t, os.Remove(fx.keyPath()))
	testkit.Check(t, os.MkdirAll(filepath.Join(fx.keyPath(), "x"), 0o700))
	fx.start()
	look := func() { fx.wake <- fx.clock.Now(); fx.wake <- fx.clock.Now() }
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", fx.folder.Socket())
		},
	}}
	metrics := func(want string) {
		t.Helper()
		resp := testkit.Must(client.Get("http://visits/metrics"))(t)
		defer resp.Body.Close()
		if b := testkit.Must(io.ReadAll(resp.Body))(t); !strings.Contains(string(b), "\n"+want+"\n") {
			t.Errorf("metrics %s; want %s", b, want)
		}
	}
	look()
	metrics("kipass_visits_overdue_seconds 0")
	fx.clock.Set(fx.day.DestroyAt().Add(time.Minute))
	look()
	metrics("kipass_visits_overdue_seconds 60")
	look()
	if n := strings.Count(fx.log.String(), "a day is kept past its end"); n != 1 {
		t.Errorf("told %d times in a minute, want once", n)
	}
	fx.clock.Add(2 * time.Hour)
	look()
	if n := strings.Count(fx.log.String(), "a day is kept past its end"); n != 2 {
		t.Errorf("told %d times in two hours, want twice", n)
	}
	testkit.Check(t, os.RemoveAll(fx.keyPath()))
	look()
	metrics("kipass_visits_overdue_seconds 0")
}
