package firmware

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/firmware/journal"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
)

// stallingDisk is a real journal whose flushes take as long as told: two for each commit, as bbolt makes them.
type stallingDisk struct {
	*journal.Journal
	flush func() time.Duration
}

func newStallingDisk(t *testing.T, flush func() time.Duration) *stallingDisk {
	t.Helper()
	seal, err := visit.ParseSealPrivateKey(make([]byte, 32))
	testkit.Check(t, err)
	d := &stallingDisk{flush: func() time.Duration { return 0 }}
	d.Journal, err = journal.Open(journal.Options{
		Dir: t.TempDir(), Facility: "cafe", Gate: "door", SealKey: seal.Public(), FreeFloor: 1,
		System: journal.System{Update: func(db *bolt.DB, change func(*bolt.Tx) error) error {
			time.Sleep(2 * d.flush())
			return db.Update(change)
		}},
	})
	testkit.Check(t, err)
	d.flush = flush
	return d
}

// stallAt returns the flushes of a disk that stands still between two moments after the start and is quick otherwise.
func stallAt(from, to time.Duration) func() time.Duration {
	began := time.Now()
	return func() time.Duration {
		if at := time.Since(began); at >= from && at < to {
			return (to - at) / 2
		}
		return 0
	}
}

func TestAStalledDiskIsToldInTimeAndNeverShownGreenLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t)
		disk := newStallingDisk(t, stallAt(500*time.Millisecond, 9*time.Second))
		s.gate.Use(disk)
		late, other := s.code(s.key, 0), s.code(s.key, 0)
		s.front.Script = []drivertest.Step{{Wait: time.Second, Data: late}, {Wait: 9 * time.Second, Data: late}}
		s.side.Script = []drivertest.Step{{Wait: 6 * time.Second, Data: other}}
		began := time.Now()
		look := func(after time.Duration, serves bool) {
			time.Sleep(after - time.Since(began))
			synctest.Wait()
			faults := s.board.Codes()
			if s.gate.Serves() != serves || serves != (len(faults) == 0) || !serves && faults[0] != health.JournalFailed {
				t.Errorf("after %v: serves %v, faults %v", after, s.gate.Serves(), faults)
			}
		}
		go func() {
			look(2900*time.Millisecond, true)
			look(3*time.Second, false)
			look(8900*time.Millisecond, false)
			look(9*time.Second, true)
		}()
		s.play(12 * time.Second)
		s.wantLights(s.frontLight, drivers.Red, drivers.Green)
		s.wantLights(s.sideLight, drivers.Red)
		s.wantTotal(map[visit.Outcome]uint64{visit.OutOfService: 2, visit.Admitted: 1})
		for i, want := range []time.Duration{3 * time.Second, 6 * time.Second, 10 * time.Second} {
			if at := s.light.ShownAt(i).Sub(began); at != want {
				t.Errorf("outcome %d came after %v, want %v", i, at, want)
			}
		}
		if n := disk.Stats().Head; n != 1 {
			t.Errorf("%d records, want the one that became durable late, and no second of its code", n)
		}
		testkit.Check(t, disk.Close())
	})
}

// Visitors who come faster than a slow disk flushes share its flushes.
func TestASlowDiskServesVisitors(t *testing.T) {
	const visitors = 40
	for _, c := range []struct {
		flush, apart time.Duration
		admitted     int // at least
	}{
		{100 * time.Millisecond, 50 * time.Millisecond, visitors},
		{300 * time.Millisecond, 200 * time.Millisecond, visitors},
		{450 * time.Millisecond, 700 * time.Millisecond, visitors},
		{500 * time.Millisecond, 700 * time.Millisecond, visitors * 9 / 10}, // two commits of two flushes are just the limit
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newFixture(t)
			disk := newStallingDisk(t, func() time.Duration { return c.flush })
			s.gate.Use(disk)
			for i := range visitors { // each fresh when it is shown
				s.front.Script = append(s.front.Script, drivertest.Step{Wait: c.apart, Data: s.code(s.key, -time.Duration(i+1)*c.apart)})
			}
			s.play(visitors*c.apart + 10*time.Second)
			totals := s.display.totals()
			admitted, rest := int(totals[visit.Admitted]), int(totals[visit.OutOfService])
			slowest := time.Duration(0)
			for i, cue := range s.light.Cues() {
				slowest = max(slowest, s.light.ShownAt(i).Sub(cue.Began))
			}
			t.Logf("%v a flush, visitors %v apart: %d of %d admitted, the slowest answer after %v", c.flush, c.apart, admitted, visitors, slowest)
			if admitted < c.admitted || admitted+rest != visitors || slowest > answerLimit {
				t.Errorf("want at least %d admitted, an outcome each, none later than %v", c.admitted, answerLimit)
			}
			testkit.Check(t, disk.Close())
		})
	}
}

// Whatever comes at once, on however many lanes, and whatever the disk does, each presentation has one outcome.
func TestEveryPresentationHasOneOutcome(t *testing.T) {
	for rule, flush := range map[string]time.Duration{"a quick disk": 0, "a slow disk": 700 * time.Millisecond, "a disk that stalls": time.Minute} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const burst = 3 * maxWaiting
				s := newFixture(t)
				disk := newStallingDisk(t, func() time.Duration { return flush })
				s.gate.Use(disk)
				for _, r := range []*drivertest.Reader{s.front, s.side} {
					for i := range burst {
						text := []byte{byte('a' + i%7), byte('0' + i/100), byte('0' + i/10%10), byte('0' + i%10)}
						if i%4 == 0 {
							text = s.code(s.key, 0)
						}
						r.Script = append(r.Script, drivertest.Step{Data: text})
					}
				}
				s.play(10 * time.Second)
				total := 0
				for _, n := range s.display.totals() {
					total += int(n)
				}
				if total != 2*burst {
					t.Errorf("%d outcomes of %d presentations", total, 2*burst)
				}
				testkit.Check(t, disk.Close())
			})
		})
	}
}

// A device that could take its cue only when somebody else stands before the gate is not given it.
func TestNothingLateIsShownGreen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t)
		slow := &sluggish{Indicator: s.light, takes: 4 * time.Second}
		s.gate = New(Options{
			Readers: []drivers.Reader{s.front}, Indicators: []Lane{{Indicator: slow}}, Trust: s.gate.opts.Trust, Clock: s.clock,
			Board: s.board, Logger: s.gate.opts.Logger,
		})
		s.gate.Use(s.journal)
		s.front.Script = []drivertest.Step{{Data: s.code(s.key, 0)}, {Wait: 500 * time.Millisecond, Data: s.code(s.key, 0)}, {Wait: 4500 * time.Millisecond, Data: s.code(s.key, 0)}}
		s.play(20 * time.Second)
		s.wantLights(s.light, drivers.Green, drivers.Green)
		for i, c := range s.light.Cues() {
			if age := s.light.ShownAt(i).Sub(c.Began); age > greenLimit {
				t.Errorf("cue %d was shown %v after its frame was read", i, age)
			}
		}
	})
}

// sluggish is an indicator that is busy for a while with each cue it takes.
type sluggish struct {
	drivers.Indicator
	takes time.Duration
}

func (s *sluggish) Show(ctx context.Context, c drivers.Cue) error {
	err := s.Indicator.Show(ctx, c)
	time.Sleep(s.takes)
	return err
}
