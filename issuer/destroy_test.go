package issuer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/guard"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

func (f *fixture) tombstones(t testing.TB) map[string]uint64 {
	t.Helper()
	entries, checkpoint, err := f.Audit().Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	key := testkit.Must(AuditKey(f.dir, ""))(t)
	r := testkit.Must(auditlog.Check(entries, checkpoint, key))(t)
	stones := map[string]uint64{}
	for _, e := range r.Entries {
		if e.Kind != auditlog.KindDestruction {
			continue
		}
		if _, twice := stones[e.Day]; twice {
			t.Errorf("the destruction of %s is logged twice", e.Day)
		}
		stones[e.Day] = e.Count
	}
	return stones
}

// gone is the whole invariant: nothing of the day is left, in files or in the open database, and its destruction stands
// in the log once with the true count.
func (f *fixture) gone(t testing.TB, day day.Day, codes uint64) {
	t.Helper()
	err := filepath.WalkDir(f.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && filepath.Base(path) != "" && len(d.Name()) >= 10 && d.Name()[:10] == day.String() {
			t.Errorf("%s is left", d.Name())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.accounts.count(day); err != nil || n != 0 {
		t.Errorf("%d accounts are left, %v", n, err)
	}
	if _, err := f.keys.Key(day); !errors.Is(err, daykey.ErrNoKey) {
		t.Errorf("the day's key: %v", err)
	}
	if n, ok := f.tombstones(t)[day.String()]; !ok || n != codes {
		t.Errorf("log tells of %d codes destroyed (%v), want %d", n, ok, codes)
	}
}

func TestDestroyedAfter28DaysNotASecondEarlyOrLate(t *testing.T) {
	f := newFixture(t)
	day := day.Of(noon)
	bearer := f.register(t, testName)
	c := f.code(t, bearer)
	last := day.DestroyAt().Add(-time.Nanosecond)

	f.clock.Set(last)
	testkit.Check(t, f.Destroy())
	o := f.order()
	o.From, o.To = noon.Add(-time.Hour).UTC(), noon.Add(time.Hour).UTC()
	ask := question(t, f.approved(t, o), visit.CTI(c.CTI()))
	if a := f.answered(t, ask); len(a.Holders) != 1 {
		t.Fatal("the code cannot be opened on the last instant of its 28 days")
	}
	f.clock.Set(day.DestroyAt())
	if a := f.answered(t, ask); len(a.Holders) != 0 || len(a.Unopened) != 1 {
		t.Error("a code whose time has come is opened because destruction has not yet run")
	}
	testkit.Check(t, f.Destroy())
	f.gone(t, day, 1)
	if _, err := f.Issue(bearer); !errors.Is(err, ErrUnknown) {
		t.Errorf("Issue on a destroyed account = %v", err)
	}
	testkit.Check(t, f.Destroy())
	f.gone(t, day, 1)
}

func TestAccountLives28DaysFromItsLastCode(t *testing.T) {
	f := newFixture(t)
	first := day.Of(noon)
	used, unused := f.register(t, testName), f.register(t, testName)
	f.code(t, used)
	f.clock.Set(noon.AddDate(0, 0, 20))
	f.code(t, used)
	f.clock.Set(first.DestroyAt())
	testkit.Check(t, f.Destroy())
	f.gone(t, first, 1)
	if _, err := f.Issue(unused); !errors.Is(err, ErrUnknown) {
		t.Errorf("account without codes for 28 days: %v", err)
	}
	f.code(t, used)
	f.clock.Set(day.Of(f.clock.Now()).DestroyAt())
	testkit.Check(t, f.Destroy())
	if _, err := f.Issue(used); !errors.Is(err, ErrUnknown) {
		t.Errorf("account 28 days after its last code: %v", err)
	}
	if days, err := f.remaining(); err != nil || len(days) != 0 {
		t.Errorf("%v are left, %v", days, err)
	}
}

// The freed pages of the accounts' file still hold old rows; without the day's key they are noise. Here the file as it
// was before destruction is put back, and even so the account cannot be read.
func TestCopyOfTheDataIsUnreadableOnceTheKeyIsDestroyed(t *testing.T) {
	f := newFixture(t)
	bearer := f.register(t, testName)
	c := f.code(t, bearer)
	day := day.Of(noon)
	f.close(t)
	kept := t.TempDir()
	testkit.Check(t, os.CopyFS(kept, os.DirFS(f.dir)))
	f.reopen(t, durable.Disk{})
	f.clock.Set(day.DestroyAt())
	testkit.Check(t, f.Destroy())
	f.close(t)
	for _, name := range []string{"accounts.db", filepath.Join("days", day.String()+".db")} {
		testkit.Check(t, os.WriteFile(filepath.Join(f.dir, name), testkit.Must(os.ReadFile(filepath.Join(kept, name)))(t), 0o600))
	}
	f.clock.Set(noon.Add(time.Minute))
	f.reopen(t, durable.Disk{})
	if _, _, err := f.accounts.get(bearer); !errors.Is(err, ErrUnknown) {
		t.Errorf("account from a copy: %v", err)
	}
	if a := f.opened(t, visit.CTI(c.CTI())); len(a.Holders) != 0 {
		t.Error("a code is opened from a copy of the data")
	}
}

func TestDestructionSurvivesACrashAtEachStep(t *testing.T) {
	for _, persisted := range []bool{false, true} {
		for n, all := 1, false; !all; n++ {
			t.Run(fmt.Sprintf("step %d, persisted %v", n, persisted), func(t *testing.T) {
				f := newFixture(t)
				day := day.Of(noon)
				bearer := f.register(t, testName)
				for range 3 {
					f.code(t, bearer)
				}
				f.clock.Set(day.DestroyAt())
				crash := &testkit.Crash{At: n, Persisted: persisted}
				f.reopen(t, crash.Disk())
				err := f.Destroy()
				if all = len(crash.Steps) < n; all {
					const steps = "write chmod sync remove sync folder " + // the key
						"remove sync folder" // the day's file
					if got := strings.Join(crash.Steps, " "); err != nil || got != steps {
						t.Fatalf("steps %s, %v; want %s", got, err, steps)
					}
				} else if !errors.Is(err, testkit.ErrFault) || len(crash.Steps) != n {
					t.Fatalf("Destroy under fault = %v after %q", err, crash.Steps)
				}
				f.reopen(t, durable.Disk{})
				testkit.Check(t, f.Destroy())
				f.gone(t, day, 3)
			})
		}
	}
}

// reopenAt opens the issuer again at wall, with a running time of its own.
func (f *fixture) reopenAt(t *testing.T, wall time.Time, ran func() time.Duration) {
	t.Helper()
	opts := f.opts
	opts.Elapsed = ran
	f.close(t)
	f.clock.Set(wall)
	f.Issuer = testkit.Must(open(f.dir, "", opts, durable.Disk{}))(t)
}

func TestAClockThatJumpsAheadDestroysNothingForADay(t *testing.T) {
	f := newFixture(t)
	day := day.Of(noon)
	bearer := f.register(t, testName)
	f.code(t, bearer)
	var ran time.Duration
	pass := func(d time.Duration) { ran += d; f.clock.Add(d) }
	f.reopenAt(t, noon, func() time.Duration { return ran })
	pass(guard.Proof)
	testkit.Check(t, f.Destroy())
	kept := func(rule string) {
		t.Helper()
		if err := f.Destroy(); !errors.Is(err, guard.ErrHeldBack) {
			t.Errorf("%s: %v, want days held back", rule, err)
		}
		if n := len(f.logged(t, auditlog.KindDestruction)); n != 0 {
			t.Errorf("%s: %d days were destroyed", rule, n)
		}
	}
	f.clock.Set(day.DestroyAt().Add(time.Hour)) // no time has passed
	kept("a month ahead")
	pass(guard.Proof - time.Minute)
	kept("almost a day later")
	f.clock.Set(noon.Add(2 * guard.Proof))
	if err := f.Destroy(); err != nil {
		t.Errorf("put right: %v", err)
	}
	f.code(t, bearer)
	f.clock.Set(day.DestroyAt().Add(time.Hour))
	kept("ahead again")
	testkit.Check(t, f.ConfirmClock())
	testkit.Check(t, f.Destroy())
	f.gone(t, day, 1)
	f.clock.Set(noon)
	if _, err := f.Issue(bearer); err == nil {
		t.Error("a day that was destroyed has a code again")
	}
	f.reopenAt(t, noon, func() time.Duration { return ran })
	if _, err := f.Register(t.Context(), RegisterRequest{Name: testName, Phone: testPhone, Consent: true}); !errors.Is(err, daykey.ErrNoKey) {
		t.Errorf("a day that was destroyed has a key again after a restart: %v", err)
	}
}

func TestDestructionThatHasBegunIsFinishedThoughTheClockIsInDoubt(t *testing.T) {
	f := newFixture(t)
	day := day.Of(noon)
	f.code(t, f.register(t, testName))
	f.clock.Set(day.DestroyAt())
	const keyDestroyed = 5 // steps
	f.reopen(t, (&testkit.Crash{At: keyDestroyed + 1}).Disk())
	if err := f.Destroy(); !errors.Is(err, testkit.ErrFault) {
		t.Fatal(err)
	}
	f.reopen(t, durable.Disk{})
	f.code(t, f.register(t, testName)) // of a day that is not due
	f.close(t)
	testkit.Check(t, os.Remove(filepath.Join(f.dir, "clock")))
	f.reopen(t, durable.Disk{})
	testkit.Check(t, f.Destroy())
	f.gone(t, day, 1)
}

func TestAfterAWeekOffDaysAreDestroyedADayLater(t *testing.T) {
	f := newFixture(t)
	day := day.Of(noon)
	f.code(t, f.register(t, testName))
	ran := guard.Proof
	f.reopenAt(t, day.DestroyAt().Add(-5*24*time.Hour), func() time.Duration { return 0 })
	testkit.Check(t, f.ConfirmClock())
	f.reopenAt(t, day.DestroyAt().Add(2*24*time.Hour), func() time.Duration { return ran })
	if err := f.Destroy(); !errors.Is(err, guard.ErrHeldBack) {
		t.Errorf("at once: %v", err)
	}
	ran += guard.Proof
	f.clock.Add(guard.Proof)
	testkit.Check(t, f.Destroy())
	f.gone(t, day, 1)
}

func TestDamagedIssueLogIsDestroyedToo(t *testing.T) {
	f := newFixture(t)
	day := day.Of(noon)
	f.code(t, f.register(t, testName))
	f.clock.Set(day.DestroyAt())
	f.close(t)
	testkit.Check(t, os.WriteFile(filepath.Join(f.dir, "days", day.String()+".db"), []byte("no database"), 0o600))
	f.reopen(t, durable.Disk{})
	testkit.Check(t, f.Destroy())
	f.gone(t, day, 0)
}

func TestLoopDestroysAtMidnight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		begin := time.Now()
		testkit.Check(t, Init(dir, "", About{Name: "naver", Hosts: []string{"h"}}, begin))
		i := testkit.Must(Open(dir, "", Options{
			Registrar: OpenRegistration{}, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		}))(t)
		defer i.Close()
		if _, err := i.Register(t.Context(), RegisterRequest{Name: testName, Phone: testPhone, Consent: true}); err != nil {
			t.Fatal(err)
		}
		due := day.Of(begin).DestroyAt()
		time.Sleep(time.Until(due) - 3*destroyPause/2)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { i.DestroyLoop(ctx); close(ended) }()
		time.Sleep(time.Until(due) - time.Nanosecond)
		synctest.Wait()
		if n := len(testkit.Must(destroyedDays(i.audit))(t)); n != 0 {
			t.Errorf("destroyed before its time: %d entries", n)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if n := len(testkit.Must(destroyedDays(i.audit))(t)); n != 1 {
			t.Errorf("%d destructions when the time has come, want 1", n)
		}
		cancel()
		<-ended
	})
}
