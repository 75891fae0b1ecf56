package issuer

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/inquiry/auditlog"
	"github.com/kipass/kipass/inquiry/order"
	"github.com/kipass/kipass/visit"
)

func (f *fixture) tombstones(t testing.TB) map[string]uint64 {
	t.Helper()
	entries, checkpoint, err := f.Audit().Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	key, err := AuditKey(f.dir, "")
	if err != nil {
		t.Fatal(err)
	}
	r, err := auditlog.Check(entries, checkpoint, key)
	if err != nil {
		t.Fatal(err)
	}
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
func (f *fixture) gone(t testing.TB, day visit.Day, codes uint64) {
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
	if _, err := f.keys.get(day); !errors.Is(err, errDestroyed) {
		t.Errorf("the day's key: %v", err)
	}
	if n, ok := f.tombstones(t)[day.String()]; !ok || n != codes {
		t.Errorf("log tells of %d codes destroyed (%v), want %d", n, ok, codes)
	}
}

func TestDestroyedAfter28DaysNotASecondEarlyOrLate(t *testing.T) {
	f := newFixture(t)
	day := visit.DayOf(noon)
	bearer := f.register(t, testName)
	c := f.code(t, bearer)
	last := day.DestroyAt().Add(-time.Nanosecond)

	f.clock.set(last)
	if err := f.Destroy(); err != nil {
		t.Fatal(err)
	}
	o := f.order()
	o.From, o.To = noon.Add(-time.Hour).UTC(), noon.Add(time.Hour).UTC()
	ask := question(t, f.approved(t, o), scanned(c, time.Second))
	answer := func() order.IssuerAnswer {
		sealed, err := f.Answer(ask)
		if err != nil {
			t.Fatal(err)
		}
		a, err := order.OpenIssuerAnswer(sealed, f.authority)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := answer(); len(a.Holders) != 1 {
		t.Fatal("the code cannot be opened on the last instant of its 28 days")
	}
	f.clock.set(day.DestroyAt())
	if a := answer(); len(a.Holders) != 0 || len(a.Unopened) != 1 {
		t.Error("a code whose time has come is opened because destruction has not yet run")
	}
	if err := f.Destroy(); err != nil {
		t.Fatal(err)
	}
	f.gone(t, day, 1)
	if _, err := f.Issue(bearer); !errors.Is(err, ErrUnknown) {
		t.Errorf("Issue on a destroyed account = %v", err)
	}
	if err := f.Destroy(); err != nil {
		t.Fatal(err)
	}
	f.gone(t, day, 1)
}

func TestAccountLives28DaysFromItsLastCode(t *testing.T) {
	f := newFixture(t)
	day := visit.DayOf(noon)
	used, unused := f.register(t, testName), f.register(t, testName)
	f.code(t, used)
	f.clock.set(noon.AddDate(0, 0, 20))
	f.code(t, used)
	f.clock.set(day.DestroyAt())
	if err := f.Destroy(); err != nil {
		t.Fatal(err)
	}
	f.gone(t, day, 1)
	if _, err := f.Issue(unused); !errors.Is(err, ErrUnknown) {
		t.Errorf("account without codes for 28 days: %v", err)
	}
	f.code(t, used)
	f.clock.set((visit.DayOf(f.clock.now())).DestroyAt())
	if err := f.Destroy(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Issue(used); !errors.Is(err, ErrUnknown) {
		t.Errorf("account 28 days after its last code: %v", err)
	}
	if days, err := f.held(); err != nil || len(days) != 0 {
		t.Errorf("%v are left, %v", days, err)
	}
}

// The freed pages of the accounts' file still hold old rows; without the day's key they are noise. Here the file as it
// was before destruction is put back, and even so the account cannot be read.
func TestCopyOfTheDataIsUnreadableOnceTheKeyIsDestroyed(t *testing.T) {
	f := newFixture(t)
	bearer := f.register(t, testName)
	c := f.code(t, bearer)
	day := visit.DayOf(noon)
	if err := f.Issuer.Close(); err != nil {
		t.Fatal(err)
	}
	f.Issuer = nil
	kept := t.TempDir()
	if err := os.CopyFS(kept, os.DirFS(f.dir)); err != nil {
		t.Fatal(err)
	}
	f.reopen(t, disk{})
	f.clock.set(day.DestroyAt())
	if err := f.Destroy(); err != nil {
		t.Fatal(err)
	}
	if err := f.Issuer.Close(); err != nil {
		t.Fatal(err)
	}
	f.Issuer = nil
	for _, name := range []string{"accounts.db", filepath.Join("days", day.String()+".db")} {
		b, err := os.ReadFile(filepath.Join(kept, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(f.dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f.clock.set(noon.Add(time.Minute))
	f.reopen(t, disk{})
	if _, _, err := f.accounts.get(bearer); !errors.Is(err, ErrUnknown) {
		t.Errorf("account from a copy: %v", err)
	}
	if a := f.opened(t, scanned(c, time.Second)); len(a.Holders) != 0 {
		t.Error("a code is opened from a copy of the data")
	}
}

var errPlayed = errors.New("played fault")

// failing fails its n-th operation, after having done it where persisted is set, and every one after: as a crash does.
type failing struct {
	disk
	n         int
	persisted bool
	done      int
}

func (f *failing) play(do func() error) error {
	f.done++
	if f.done < f.n {
		return do()
	}
	if f.done == f.n && f.persisted {
		if err := do(); err != nil {
			return err
		}
	}
	return errPlayed
}

func (f *failing) Overwrite(path string) error {
	return f.play(func() error { return f.disk.Overwrite(path) })
}

func (f *failing) Remove(path string) error {
	return f.play(func() error { return f.disk.Remove(path) })
}

func TestDestructionSurvivesACrashAtEachStep(t *testing.T) {
	steps := []string{"", "overwriting the key", "removing the key", "removing the issue log", "removing the intent"}
	for n := 1; n < len(steps); n++ {
		for _, persisted := range []bool{false, true} {
			t.Run(steps[n]+map[bool]string{false: " failed", true: " failed but persisted"}[persisted], func(t *testing.T) {
				f := newFixture(t)
				day := visit.DayOf(noon)
				bearer := f.register(t, testName)
				for range 3 {
					f.code(t, bearer)
				}
				f.clock.set(day.DestroyAt())
				played := &failing{n: n, persisted: persisted}
				f.reopen(t, played)
				if err := f.Destroy(); !errors.Is(err, errPlayed) {
					t.Fatalf("Destroy under fault = %v", err)
				}
				if played.done != n {
					t.Fatalf("%d operations were done, want %d", played.done, n)
				}
				f.reopen(t, disk{})
				if err := f.Destroy(); err != nil {
					t.Fatal(err)
				}
				f.gone(t, day, 3)
			})
		}
	}
}

func TestDamagedIssueLogIsDestroyedToo(t *testing.T) {
	f := newFixture(t)
	day := visit.DayOf(noon)
	f.code(t, f.register(t, testName))
	if err := f.Issuer.Close(); err != nil {
		t.Fatal(err)
	}
	f.Issuer = nil
	if err := os.WriteFile(filepath.Join(f.dir, "days", day.String()+".db"), []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.clock.set(day.DestroyAt())
	f.reopen(t, disk{})
	if err := f.Destroy(); err != nil {
		t.Fatal(err)
	}
	f.gone(t, day, 0)
}

func TestLoopDestroysAtMidnight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		begin := time.Now()
		if err := Init(dir, "", About{Name: "naver", Hosts: []string{"h"}}, begin); err != nil {
			t.Fatal(err)
		}
		i, err := Open(dir, "", Options{Registrar: OpenRegistration{}, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer i.Close()
		if _, err := i.Register(t.Context(), testName, testPhone, true, ""); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { i.DestroyLoop(ctx); close(ended) }()
		due := visit.DayOf(begin).DestroyAt()
		time.Sleep(time.Until(due) - time.Nanosecond)
		synctest.Wait()
		if n := i.Audit().Size(); n != 0 {
			t.Errorf("destroyed before its time: %d entries", n)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if n := i.Audit().Size(); n != 1 {
			t.Errorf("%d destructions when the time has come, want 1", n)
		}
		cancel()
		<-ended
	})
}
