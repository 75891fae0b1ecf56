package visitserver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/guard"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
	"github.com/kipass/kipass/visitserver/store/embedded"
)

// opened is a server opened on a folder without serving.
func opened(t *testing.T, f Folder, clock *testkit.Clock) (*Server, *closers) {
	t.Helper()
	parts := &closers{}
	st := testkit.Must(embedded.Open(f.Visits(), embedded.Options{}))(t)
	parts.add(st.Close)
	s, err := open(t.Context(), Config{
		Folder: f, Secrets: testkit.Must(f.Unlock())(t), Store: st, Now: clock.Now, Logger: slog.New(slog.DiscardHandler),
	}, guard.Options{Now: clock.Now}, parts)
	if err != nil {
		_ = parts.close()
		t.Fatal(err)
	}
	return s, parts
}

// tombstones are the destructions an auditor finds in the log.
func tombstones(t *testing.T, f Folder) map[string]auditlog.Entry {
	t.Helper()
	found := map[string]auditlog.Entry{}
	for _, e := range auditEntries(t, f) {
		if e.Kind != auditlog.KindDestruction {
			continue
		}
		if _, twice := found[e.Day]; twice {
			t.Errorf("the log holds two tombstones of %s", e.Day)
		}
		found[e.Day] = e
	}
	return found
}

func exists(t testing.TB, path string) bool {
	t.Helper()
	_, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

func TestNotOneVisitIsDestroyedEarlyOrLate(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	first := day.Of(noon)
	for d := range 3 {
		day := first + day.Day(d)
		fx.clock.Set((day + 1).Start().Add(-time.Millisecond))
		g.journalled(newVisit(day.Start()), newVisit((day + 1).Start().Add(-time.Millisecond)))
		g.deliver()
	}
	kept := func(d day.Day) bool {
		key := exists(t, filepath.Join(fx.folder.Dir, "keys", "days", d.String()+".key"))
		rows := exists(t, filepath.Join(fx.folder.Dir, "visits", "days", d.String()))
		if key != rows {
			t.Errorf("%v: key kept %v, rows kept %v", d, key, rows)
		}
		return key
	}
	fx.clock.Set(first.DestroyAt().Add(-time.Millisecond))
	for _, c := range []struct {
		rule string
		at   time.Time
		gone int // days destroyed, of three
	}{
		{"a millisecond before the first day's end", first.DestroyAt().Add(-time.Millisecond), 0},
		{"at its end", first.DestroyAt(), 1},
		{"a millisecond before the second's", (first + 1).DestroyAt().Add(-time.Millisecond), 1},
		{"at the second's", (first + 1).DestroyAt(), 2},
		{"at the third's", (first + 2).DestroyAt(), 3},
		{"the clock put back", first.Start(), 3},
	} {
		fx.clock.Set(c.at)
		fx.wake <- c.at // the run before has ended: Destroyer waits again only then
		fx.wake <- c.at
		for d := range 3 {
			if kept(first+day.Day(d)) != (d >= c.gone) {
				t.Errorf("%s: day %d kept %v", c.rule, d, !(d >= c.gone))
			}
		}
		stones := tombstones(t, fx.folder)
		if len(stones) != c.gone {
			t.Errorf("%s: %d tombstones, want %d", c.rule, len(stones), c.gone)
		}
		for day, e := range stones {
			if e.Count != 2 {
				t.Errorf("%s: tombstone of %s counts %d visits, want 2", c.rule, day, e.Count)
			}
		}
	}
	if n := fx.stored("cafe"); n != 6 {
		t.Errorf("counts after destruction: %d, want 6", n)
	}
}

func TestLateRecordsOfADestroyedDayAreRefused(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	day := day.Of(noon)
	g.journalled(newVisit(noon))
	g.deliver()
	late := newVisit(noon.Add(time.Minute))
	fx.clock.Set(day.DestroyAt())
	fx.wake <- fx.clock.Now()
	fx.wake <- fx.clock.Now()
	refused := func(rule string) {
		t.Helper()
		g.journalled(late)
		seq := g.records[0].Seq
		if got := g.deliver().Settled.Refused; !slices.Equal(got, []visit.Refusal{{Seq: seq, Reason: refuseTooOld}}) {
			t.Errorf("%s: refused %v, want too-old", rule, got)
		}
	}
	refused("at the moment of destruction")
	fx.clock.Set(noon)
	refused("the clock put back")
	fx.restart()
	refused("the clock put back, after a restart")
	if n := fx.stored("cafe"); n != 1 {
		t.Errorf("stored %d, want 1", n)
	}
}

// TestDestructionFinishesAfterACrashAtEachStep copies the server's whole folder at each durable step, as a crash would
// leave it, and opens the copy.
func TestDestructionFinishesAfterACrashAtEachStep(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	day := day.Of(noon)
	v := newVisit(noon)
	g.journalled(v, newVisit(noon.Add(24*time.Hour-time.Minute)))
	fx.clock.Add(24 * time.Hour)
	g.deliver()
	fx.stop()

	images := map[string]string{}
	order := []string{}
	s, parts := opened(t, fx.folder, fx.clock)
	s.step = func(step string) {
		dir := filepath.Join(shortDir(t), "image")
		if err := os.CopyFS(dir, os.DirFS(fx.folder.Dir)); err != nil {
			t.Fatal(err)
		}
		images[step] = dir
		order = append(order, step)
	}
	fx.clock.Set(day.DestroyAt())
	done, err := s.DestroyDue(t.Context())
	if err != nil || len(done) != 1 || done[0].Visits != 1 {
		t.Fatalf("destroyed %+v, %v; want one day of one visit", done, err)
	}
	if err := parts.close(); err != nil {
		t.Fatal(err)
	}
	images["ended"], order = fx.folder.Dir, append(order, "ended")
	if len(order) != 5 {
		t.Fatalf("steps %v, want five", order)
	}
	for _, step := range order {
		t.Run("after "+step, func(t *testing.T) {
			f := Folder{Dir: images[step], Secrets: fx.folder.SecretDir()}
			for run := range 2 {
				s, parts := opened(t, f, fx.clock)
				again, err := s.DestroyDue(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if want := 1; run == 0 && step != "ended" && len(again) != want || run == 1 && len(again) != 0 {
					t.Errorf("run %d finished %d days", run, len(again))
				}
				l, err := s.Ledger(t.Context())
				if err != nil || len(l.Destroyed) != 1 || l.Destroyed[0] != done[0] || l.Facilities[0].Stored != 2 {
					t.Errorf("ledger %+v, %v; want the tombstone %+v and 2 visits counted", l, err, done[0])
				}
				if err := parts.close(); err != nil {
					t.Fatal(err)
				}
			}
			if exists(t, filepath.Join(f.Dir, "keys", "days", day.String()+".key")) || exists(t, filepath.Join(f.Dir, "visits", "days", day.String())) {
				t.Error("key or rows are still there")
			}
			if !exists(t, filepath.Join(f.Dir, "visits", "days", (day+1).String())) {
				t.Error("the day after is gone too")
			}
			stones := tombstones(t, f)
			e := stones[day.String()]
			if len(stones) != 1 || e.Count != 1 || e.Digest != done[0].Digest {
				t.Errorf("tombstones %+v, want one of one visit", stones)
			}
		})
	}
}

func TestTombstoneDigestIsOverTheCountsThatStay(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	g.journalled(newVisit(noon), newVisit(noon))
	g.deliver()
	fx.stop()
	s, parts := opened(t, fx.folder, fx.clock)
	defer parts.close()
	fx.clock.Set(day.Of(noon).DestroyAt())
	done, err := s.DestroyDue(context.Background())
	digest := sha256.Sum256([]byte("cafe door 12 2\n"))
	want := hex.EncodeToString(digest[:])
	if err != nil || len(done) != 1 || done[0].Digest != want {
		t.Errorf("destroyed %+v, %v; want digest %s", done, err, want)
	}
	c, err := s.DayCounts(context.Background(), "cafe", day.Of(noon))
	if err != nil || c.Total != 2 || c.Hours[0] != (HourCount{"door", 12, 2}) {
		t.Errorf("counts that stay: %+v, %v", c, err)
	}
}

// TestDataWithoutTheMasterKeyRevealsNoCode takes everything on the server's disk but the master key and looks for the
// codes: in the clear, and through every door the server itself would use.
func TestDataWithoutTheMasterKeyRevealsNoCode(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	visits := []visit.Visit{newVisit(noon), newVisit(noon), newVisit(noon)}
	g.journalled(visits...)
	g.deliver()
	fx.restart() // flushes the memory tables to files
	fx.stop()
	stolen := Folder{Dir: filepath.Join(shortDir(t), "stolen")}
	if err := os.CopyFS(stolen.Dir, os.DirFS(fx.folder.Dir)); err != nil {
		t.Fatal(err)
	}
	stolen.Secrets = t.TempDir()
	master := filepath.Join(stolen.Secrets, masterFile)
	files := 0
	err := filepath.WalkDir(stolen.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for _, v := range visits {
			if bytes.Contains(b, v.CTI[:]) || bytes.Contains(b, v.CTI[:12]) || strings.Contains(string(b), hex.EncodeToString(v.CTI[:])) {
				t.Errorf("%s holds a code", path)
			}
		}
		return nil
	})
	if err != nil || files < 10 {
		t.Fatalf("looked through %d files, %v", files, err)
	}
	for rule, key := range map[string]string{"another key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", "no key": ""} {
		if key != "" {
			if err := os.WriteFile(master, []byte(key), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := stolen.Unlock(); err == nil {
			t.Errorf("%s: the server's keys were read", rule)
		}
	}
	if logged := fx.log.Bytes(); !bytes.Contains(logged, []byte("facility=cafe gate=door")) {
		t.Error("the log does not tell who asked")
	} else {
		for _, v := range visits {
			if bytes.Contains(logged, v.CTI[:8]) || bytes.Contains(logged, []byte(hex.EncodeToString(v.CTI[:8]))) {
				t.Error("the log holds a code")
			}
		}
	}
}

// auditEntries are the entries of the audit log, which must hold.
func auditEntries(t *testing.T, f Folder) []auditlog.Entry {
	t.Helper()
	vkey, err := os.ReadFile(filepath.Join(f.Dir, "audit.vkey"))
	if err != nil {
		t.Fatal(err)
	}
	report, err := auditlog.VerifyDir(f.Audit(), strings.TrimSpace(string(vkey)))
	if err != nil {
		t.Fatalf("the audit log does not hold: %v", err)
	}
	return report.Entries
}

func TestAClockThatJumpsAheadDestroysNothingForADay(t *testing.T) {
	fx := newFixture(t)
	var ran atomic.Int64 // nanoseconds
	fx.stop()
	fx.elapsed = func() time.Duration { return time.Duration(ran.Load()) }
	fx.start()
	pass := func(d time.Duration) { fx.clock.Add(d); ran.Add(int64(d)) }
	look := func() { fx.wake <- fx.clock.Now(); fx.wake <- fx.clock.Now() }
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	day := day.Of(noon)
	g.journalled(newVisit(noon))
	g.deliver()
	pass(guard.Proof)
	look()
	key := filepath.Join(fx.folder.Dir, "keys", "days", day.String()+".key")
	kept := func(rule string, left time.Duration) {
		t.Helper()
		look()
		if err := fx.tryAdmin(nil, AdminRequest{Command: "destroy"}); err == nil || !strings.Contains(err.Error(), guard.ErrHeldBack.Error()) {
			t.Errorf("%s: destroy says %v, want that days are held back", rule, err)
		}
		if h := fx.ledger().HeldBack; h == nil || !slices.Equal(h.Days, []string{day.String()}) || h.Left != left.String() {
			t.Errorf("%s: the ledger tells %+v", rule, h)
		}
		if !exists(t, key) || len(tombstones(t, fx.folder)) != 0 {
			t.Errorf("%s: the day was destroyed", rule)
		}
	}
	fx.clock.Set(day.DestroyAt().Add(time.Hour)) // no time has passed
	kept("a month ahead", guard.Proof)
	g.journalled(newVisit(noon.Add(time.Hour)))
	var problem *wire.Problem
	if _, err := g.send(g.segment(1)); !errors.As(err, &problem) || problem.Code != wire.CodeBusy {
		t.Errorf("a record that is too old by a clock in doubt is answered %v, want that it comes again", err)
	}
	if after := fx.retryAfter.Load(); after < int64(lasting/time.Second) {
		t.Errorf("it is asked for again after %d s, though a clock stays in doubt for hours", after)
	}
	pass(guard.Proof - time.Minute)
	kept("almost a day later", time.Minute)
	if n := bytes.Count(fx.log.Bytes(), []byte("days are held back from destruction")); n == 0 {
		t.Error("the log does not tell")
	}
	ran.Store(0)
	fx.restart()
	kept("after a restart", time.Minute)

	fx.clock.Set(noon.Add(2 * guard.Proof))
	look()
	fx.admin(nil, "destroy")
	if h := fx.ledger().HeldBack; h != nil || !exists(t, key) {
		t.Errorf("put right: the ledger tells %+v", h)
	}
	fx.restart() // for a certificate of now
	if receipt := g.deliver(); len(receipt.Settled.Refused) != 0 {
		t.Errorf("put right: refused %v", receipt.Settled.Refused)
	}

	fx.clock.Set(day.DestroyAt().Add(time.Hour))
	kept("ahead again", guard.Proof)
	if err := fx.tryAdmin(nil, AdminRequest{Command: "destroy", Args: []string{"yes"}}); err == nil || !exists(t, key) {
		t.Errorf("another word than the one: %v", err)
	}
	fx.admin(nil, "destroy", ConfirmClock) // or by the server itself, which may be looking: once the clock is confirmed
	if _, told := tombstones(t, fx.folder)[day.String()]; !told || exists(t, key) || fx.ledger().HeldBack != nil {
		t.Errorf("confirmed: the log tells of the day: %v, its key is there: %v", told, exists(t, key))
	}
}
