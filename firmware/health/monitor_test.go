package health

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/firmware/clock"
	"github.com/kipass/kipass/firmware/journal"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

// fixture is a board, a monitor, and what the monitor looks at.
type fixture struct {
	board   *Board
	monitor *Monitor
	log     *testkit.Buffer

	stats  journal.Stats
	probe  error
	probes int
	mu     sync.Mutex
	at     clock.Reading
	list   uint64    // version of the trust list
	expiry time.Time // of the trust list
}

func newFixture(*testing.T) *fixture {
	log, buffer := testkit.NewLogger()
	f := &fixture{log: buffer, at: clock.Reading{Now: time.Now(), State: visit.ClockSynced}, list: 1, expiry: time.Now().Add(time.Hour)}
	f.board = NewBoard(time.Now, log)
	f.monitor = &Monitor{Board: f.board, Journal: f, Clock: f, Trust: f}
	return f
}

func (f *fixture) Read() clock.Reading {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at
}

func (f *fixture) trust(s visit.ClockState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at.State = s
}

func (f *fixture) Stats() journal.Stats     { return f.stats }
func (f *fixture) Probe() error             { f.probes++; return f.probe }
func (f *fixture) Version() uint64          { return f.list }
func (f *fixture) Stale(now time.Time) bool { return now.After(f.expiry) }

func TestMonitorNotesAndForgets(t *testing.T) {
	for rule, c := range map[string]struct {
		fail   func(f *fixture)
		want   Code
		detail string
	}{
		"an untrusted clock": {func(f *fixture) { f.at.State = visit.ClockUntrusted }, ClockUntrusted, ""},
		"a clock that lost its trust": {func(f *fixture) {
			f.at.State, f.at.Doubt = visit.ClockUntrusted, "two issuers"
		}, ClockUntrusted, "two issuers"},
		"a clock that is contradicted": {func(f *fixture) { f.at.Doubt = "two issuers" }, ClockDoubted, "two issuers"},
		"an expired trust list":        {func(f *fixture) { f.at.Now = f.expiry.Add(1) }, TrustStale, ""},
		"a full disk":                  {func(f *fixture) { f.stats.Full = journal.ErrFull }, JournalFull, "journal has no space left"},
		"a damaged journal":            {func(f *fixture) { f.stats.Damage = "torn" }, JournalReplaced, "torn"},
		"a file set aside":             {func(f *fixture) { f.stats.Replaced = []string{"old.damaged"} }, JournalReplaced, " old.damaged"},
		"refused records":              {func(f *fixture) { f.stats.Quarantined = 3 }, Quarantined, "3"},
		"records past their day":       {func(f *fixture) { f.stats.Destroyed = 12 }, Undelivered, "12"},
		"a journal that still fails":   {func(f *fixture) { f.stats.Failed, f.probe = errors.New("once"), errors.New("again") }, JournalFailed, "again"},
	} {
		t.Run(rule, func(t *testing.T) {
			f := newFixture(t)
			f.monitor.Look()
			if shown := f.board.Shown(); len(shown) != 0 {
				t.Fatalf("faults of a sound gate: %+v", shown)
			}
			at, stats := f.at, f.stats
			c.fail(f)
			for range 2 {
				f.monitor.Look()
			}
			if shown := f.board.Shown(); len(shown) != 1 || shown[0].Code != c.want || shown[0].Detail != c.detail {
				t.Errorf("faults %+v, want %s: %q", shown, c.want, c.detail)
			}
			f.at, f.stats, f.probe = at, stats, nil
			f.monitor.Look()
			if shown := f.board.Shown(); len(shown) != 0 {
				t.Errorf("faults stay: %+v", shown)
			}
		})
	}
}

// What is kept past its end is an alarm, by a time that is believed: a battery clock that nothing supports is not.
func TestWhatIsOverdueIsAnAlarm(t *testing.T) {
	due := time.Date(2026, 4, 8, 0, 0, 0, 0, day.Seoul())
	late := due.Add(2 * time.Hour)
	undelivered := journal.Stats{Term: journal.Term{What: journal.Undelivered, Due: due}}
	for _, c := range []struct {
		rule   string
		at     clock.Reading
		stats  journal.Stats
		detail string // empty: no alarm
	}{
		{"by a clock that two sources bear out", clock.Reading{Now: late, State: visit.ClockSynced, Confirmed: true}, undelivered,
			"undelivered since 2026-04-08 00:00:00"},
		{"by one source alone, on which nothing undelivered ends", clock.Reading{Now: late, State: visit.ClockSynced}, undelivered,
			"undelivered since 2026-04-08 00:00:00; no second source confirms the time"},
		{"by what has passed for certain", clock.Reading{Now: due.AddDate(-1, 0, 0), Floor: late, State: visit.ClockUntrusted}, undelivered,
			"undelivered since 2026-04-08 00:00:00; no second source confirms the time"},
		{"with what hinders it", clock.Reading{Now: late, State: visit.ClockHoldover, Confirmed: true},
			journal.Stats{Term: journal.Term{What: journal.Delivered, Due: due}, Ending: errors.New("flush failed")},
			"delivered since 2026-04-08 00:00:00; flush failed"},
		{"also in the pages of the file", clock.Reading{Now: due, State: visit.ClockSynced, Confirmed: true}, journal.Stats{Untidy: 26 * time.Hour},
			"records that have left it are still in the file"},
		{"not before", clock.Reading{Now: due.Add(-time.Second), State: visit.ClockSynced}, undelivered, ""},
		{"not while it is being destroyed", clock.Reading{Now: due.Add(20 * time.Minute), State: visit.ClockSynced}, undelivered, ""},
		{"not by a battery clock alone", clock.Reading{Now: late.AddDate(0, 0, 40), State: visit.ClockHoldover, Suspect: true, Floor: due.AddDate(0, 0, -20)}, undelivered, ""},
		{"not by a clock that is not trusted", clock.Reading{Now: late.AddDate(0, 0, 40), State: visit.ClockUntrusted}, undelivered, ""},
		{"not of nothing", clock.Reading{Now: late, State: visit.ClockSynced}, journal.Stats{}, ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			f := newFixture(t)
			f.expiry = late.AddDate(1, 0, 0)
			f.at, f.stats = c.at, c.stats
			for range 100 {
				f.monitor.Look()
				f.at.Now, f.at.Floor = f.at.Now.Add(2*time.Second), f.at.Floor.Add(2*time.Second)
			}
			detail := ""
			for _, fault := range f.board.Shown() {
				if fault.Code == Overdue {
					detail = fault.Detail
				}
			}
			if detail != c.detail {
				t.Errorf("the alarm says %q, want %q", detail, c.detail)
			}
			if n := f.log.Count("code=overdue"); n != min(1, len(c.detail)) {
				t.Errorf("told %d times:\n%s", n, f.log)
			}
			f.stats = journal.Stats{}
			f.monitor.Look()
			if slices.Contains(f.board.Codes(), Overdue) {
				t.Error("the alarm stays once it has gone")
			}
		})
	}
}

// Without a list no visitor is admitted; that is told as not enrolled, not as an expired list.
func TestNoTrustListIsNotAStaleOne(t *testing.T) {
	f := newFixture(t)
	f.list, f.expiry = 0, time.Time{}
	f.monitor.Look()
	if shown := f.board.Shown(); len(shown) != 0 {
		t.Errorf("faults %+v", shown)
	}
}

// Appends note that the journal failed; only a probe can find that it works again, and a sound journal is not probed.
func TestMonitorProbesAJournalThatFailed(t *testing.T) {
	f := newFixture(t)
	f.monitor.Look()
	if f.probes != 0 {
		t.Error("a sound journal was probed")
	}
	f.board.Set(JournalFailed, "", "by an append")
	f.probe = errors.New("still")
	f.monitor.Look()
	if shown := f.board.Shown(); len(shown) != 1 || shown[0].Detail != "still" || f.probes != 1 {
		t.Errorf("faults %+v after %d probes", shown, f.probes)
	}
	f.stats.Full = journal.ErrFull // the reason, which needs no probe
	f.monitor.Look()
	if shown := f.board.Shown(); len(shown) != 1 || shown[0].Code != JournalFull || f.probes != 1 {
		t.Errorf("faults %+v after %d probes", shown, f.probes)
	}
}

func TestMonitorLooksEveryTwoSecondsUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.trust(visit.ClockUntrusted)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { f.monitor.Run(ctx); close(ended) }()
		synctest.Wait()
		if shown := f.board.Shown(); len(shown) != 1 {
			t.Errorf("faults at once: %+v", shown)
		}
		f.trust(visit.ClockSynced)
		time.Sleep(lookEvery)
		synctest.Wait()
		if shown := f.board.Shown(); len(shown) != 0 {
			t.Errorf("faults two seconds later: %+v", shown)
		}
		cancel()
		<-ended
	})
}

// hungJournal has a disk that answers a probe only when it is let go.
type hungJournal struct {
	*fixture
	answer chan error
}

func (h hungJournal) Probe() error {
	h.mu.Lock()
	h.probes++
	h.mu.Unlock()
	return <-h.answer
}

// A disk that answers nothing is a fault that stays, and holds up nothing else that the monitor watches.
func TestADiskThatStallsDoesNotStallTheMonitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		disk := hungJournal{f, make(chan error)}
		f.monitor.Journal = disk
		f.board.Set(JournalFailed, "", "an append stalled")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); f.monitor.Run(ctx) }()
		time.Sleep(20 * time.Second)
		f.trust(visit.ClockUntrusted)
		time.Sleep(2 * lookEvery)
		synctest.Wait()
		if got := fmt.Sprint(f.board.Codes()); got != "[journal-failed clock-untrusted]" {
			t.Errorf("while the disk stalls the board has %s", got)
		}
		if f.probes != 1 {
			t.Errorf("%d probes lie on a disk that answers none", f.probes)
		}
		f.trust(visit.ClockSynced)
		disk.answer <- nil
		time.Sleep(lookEvery)
		synctest.Wait()
		if shown := f.board.Shown(); len(shown) != 0 {
			t.Errorf("faults when the disk answers again: %+v", shown)
		}
		cancel()
		<-ended
	})
}

func TestDelivery(t *testing.T) {
	good := Delivery{Enrolled: true, Provisioned: true, Reached: true}
	for rule, c := range map[string]struct {
		change   func(d *Delivery)
		want     Code
		severity Severity
		detail   string
	}{
		"never enrolled":           {func(d *Delivery) { d.Enrolled, d.Provisioned, d.LastError = false, false, "no code" }, NotEnrolled, Down, "no code"},
		"the certificate was lost": {func(d *Delivery) { d.Enrolled = false }, CertificateLost, Degraded, ""},
		"the server was restored":  {func(d *Delivery) { d.Unknown, d.LastError = true, "enrol again" }, CertificateLost, Degraded, "enrol again"},
		"the date is wrong":        {func(d *Delivery) { d.DateWrong, d.LastError = true, "1970" }, DateWrong, Degraded, "1970"},
		"the date is wrong before it is enrolled": {func(d *Delivery) {
			d.Enrolled, d.Provisioned, d.DateWrong = false, false, true
		}, DateWrong, Degraded, ""},
		"withdrawn":                               {func(d *Delivery) { d.Revoked = true }, Revoked, Down, ""},
		"a record is not understood":              {func(d *Delivery) { d.Blocked = 77 }, RecordBlocked, Degraded, "77"},
		"the server saw the sequence jump":        {func(d *Delivery) { d.Alerts = []string{"fork", "gap"} }, JournalJumped, Notice, "fork, gap"},
		"a box on the way wants short handshakes": {func(d *Delivery) { d.Classic, d.KeyExchange = true, "X25519" }, ClassicExchange, Notice, "X25519"},
		"the server has not been heard from":      {func(d *Delivery) { d.Reached, d.LastError = false, "timeout" }, Offline, Notice, "timeout"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			f.board.SetDelivery(good)
			if shown := f.board.Shown(); len(shown) != 0 {
				t.Errorf("%s: faults before: %+v", rule, shown)
			}
			d := good
			c.change(&d)
			f.board.SetDelivery(d)
			time.Sleep(KindOf(c.want).Grace)
			if shown := f.board.Shown(); len(shown) != 1 || shown[0].Code != c.want || shown[0].Detail != c.detail || KindOf(c.want).Severity != c.severity {
				t.Errorf("%s: faults %+v, want %s, %v: %q", rule, shown, c.want, c.severity, c.detail)
			}
			f.board.SetDelivery(good)
			if shown := f.board.Shown(); len(shown) != 0 {
				t.Errorf("%s: faults stay: %+v", rule, shown)
			}
		})
	}
}

func TestBoardShowsTheWorstFirstAndEachCodeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.board.Set(Quarantined, "", "")
		f.board.Set(ReaderLost, "side", "")
		f.board.Set(ReaderLost, "front", "")
		if got := fmt.Sprint(f.board.Codes()); got != "[quarantined]" {
			t.Errorf("within a reader's grace: %s", got)
		}
		time.Sleep(KindOf(ReaderLost).Grace)
		f.board.Set(JournalFull, "", "")
		if got := fmt.Sprint(f.board.Codes()); got != "[journal-full reader-lost quarantined]" {
			t.Errorf("codes %s", got)
		}
		if shown := f.board.Shown(); len(shown) != 4 || shown[1].Subject != "front" || shown[2].Subject != "side" {
			t.Errorf("shown %+v", shown)
		}
		began := f.board.Shown()[1].Since
		f.board.Set(ReaderLost, "front", "said again") // which renews the detail alone
		if again := f.board.Shown()[1]; again.Since != began || again.Detail != "said again" {
			t.Errorf("said again: %+v", again)
		}
		f.board.Clear(ReaderLost, "front")
		f.board.Clear(ReaderLost, "front")
		if n := f.log.Count("fault cleared"); n != 1 {
			t.Errorf("logged %d times that the fault was cleared", n)
		}
	})
}
