package journal

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

// appendOn journals n visits read at the given time under the given clock.
func (s *fixture) appendOn(j *Journal, at time.Time, clock visit.ClockState, n int) {
	s.t.Helper()
	for range n {
		v := s.visit()
		v.At, v.Clock = at, clock
		if _, err := j.Append(s.t.Context(), v); err != nil {
			s.t.Fatal(err)
		}
	}
}

func mustDestroy(t *testing.T, j *Journal, now time.Time, want int) {
	t.Helper()
	n, err := j.Destroy(now)
	testkit.Check(t, err)
	if n != want {
		t.Fatalf("%v: destroyed %d records, want %d", now, n, want)
	}
	l, err := j.Ledger()
	if err == nil {
		err = l.Check()
	}
	testkit.Check(t, err)
}

func TestDestroyTakesADayWhenItsRetentionEndsAndNotBefore(t *testing.T) {
	s := newFixture(t)
	j := s.open()
	day := day.Of(seoulNoon)
	s.appendOn(j, (day + 1).Start().Add(-time.Millisecond), visit.ClockSynced, 3)
	s.appendOn(j, (day + 1).Start(), visit.ClockHoldover, 4)
	s.appendOn(j, (day + 2).Start(), visit.ClockSynced, 2)
	mustDestroy(t, j, day.DestroyAt().Add(-time.Nanosecond), 0)
	mustDestroy(t, j, day.DestroyAt(), 3)
	mustDestroy(t, j, day.DestroyAt(), 0)
	mustDestroy(t, j, (day + 1).DestroyAt(), 4)
	if st := j.Stats(); st.Backlog != 2 || st.Destroyed != 7 || st.Head != 9 {
		t.Fatalf("%+v", st)
	}
	seg, err := j.Peek(10, 1<<20)
	if err != nil || len(seg.Records) != 2 || seg.Records[0].Seq != 8 {
		t.Fatalf("%d records, %v", len(seg.Records), err)
	}
	srv := newServer(s.key)
	srv.heads[seg.Journal] = Position{Seq: 7, Chain: seg.Prev}
	testkit.Check(t, srv.take(seg))
}

func TestDestroyTakesQuarantinedRecordsWithTheirDay(t *testing.T) {
	s := newFixture(t)
	j := s.open()
	day := day.Of(seoulNoon)
	s.appendOn(j, seoulNoon, visit.ClockSynced, 3)
	s.appendOn(j, seoulNoon.AddDate(0, 0, 1), visit.ClockSynced, 3)
	seg, err := j.Peek(10, 1<<20)
	if err == nil {
		err = j.Settle(visit.Settlement{Journal: seg.Journal, Through: 6, Refused: []visit.Refusal{{Seq: 2}, {Seq: 5}}})
	}
	testkit.Check(t, err)
	mustDestroy(t, j, day.DestroyAt(), 1)
	if st := j.Stats(); st.Quarantined != 1 || st.Destroyed != 1 {
		t.Fatalf("%+v", st)
	}
	mustDestroy(t, j, (day + 1).DestroyAt(), 1)
	testkit.Check(t, j.Close())
	if st := s.open().Stats(); st.Quarantined != 0 || st.Destroyed != 2 {
		t.Fatalf("after a restart: %+v", st)
	}
}

// A gate that boots without a clock may think it is 1970. Its visits are not 28 days old for that.
func TestVisitsOfAnUntrustedClockAreKeptFromTheDayTheTimeIsKnown(t *testing.T) {
	s := newFixture(t)
	j := s.open()
	s.appendOn(j, time.Unix(1000, 0), visit.ClockUntrusted, 4)
	s.appendOn(j, seoulNoon, visit.ClockSynced, 2)
	day := day.Of(seoulNoon)
	mustDestroy(t, j, seoulNoon, 0)
	mustDestroy(t, j, day.DestroyAt().Add(-time.Second), 0)
	mustDestroy(t, j, day.DestroyAt(), 6)
}

// An issuer that dates its codes far apart begins no epoch, of a kilobyte, with each of them.
func TestVisitsOfAnUntrustedClockShareAnEpochWhateverTheirDays(t *testing.T) {
	s := newFixture(t)
	j := s.open()
	for days := range 5 {
		s.appendOn(j, seoulNoon.AddDate(0, 0, 3*days), visit.ClockUntrusted, 1)
	}
	segment, err := j.Peek(10, 1<<20)
	if err != nil || len(segment.Records) != 5 || len(segment.Epochs) != 1 {
		t.Errorf("%d records in %d epochs: %v", len(segment.Records), len(segment.Epochs), err)
	}
}

func TestADayAheadOfTheTrueOneIsCorrected(t *testing.T) {
	s := newFixture(t)
	j := s.open()
	s.appendOn(j, seoulNoon.AddDate(20, 0, 0), visit.ClockSynced, 4)
	mustDestroy(t, j, seoulNoon, 0)
	mustDestroy(t, j, day.Of(seoulNoon).DestroyAt(), 4)
}

func TestDestroyingManyGoesInPieces(t *testing.T) {
	s := newFixture(t)
	j := s.open()
	const n = 2*maxMoved + 10
	v := s.visit()
	spread(n, func() {
		if _, err := j.Append(t.Context(), v); err != nil {
			t.Error(err)
		}
	})
	mustDestroy(t, j, day.Of(seoulNoon).DestroyAt(), n)
	if st := j.Stats(); st.Backlog != 0 || st.Destroyed != n {
		t.Fatalf("%+v", st)
	}
}

// A clock that is not trusted ends nothing; once it is, what is past its day goes at the next look.
func TestRetentionWaitsForATrustedClock(t *testing.T) {
	s := newFixture(t)
	j := s.open()
	s.appendOn(j, seoulNoon, visit.ClockSynced, 3)
	destroyed := func() uint64 { return j.Stats().Destroyed }
	synctest.Test(t, func(t *testing.T) {
		end := day.Of(seoulNoon).DestroyAt()
		var mu sync.Mutex
		at, trusted := end, false
		set := func(t time.Time) {
			mu.Lock()
			defer mu.Unlock()
			at, trusted = t, true
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			j.RunRetention(ctx, func() (time.Time, bool) {
				mu.Lock()
				defer mu.Unlock()
				return at, trusted
			})
			close(ended)
		}()
		time.Sleep(destroyEvery + time.Second)
		if n := destroyed(); n != 0 {
			t.Errorf("%d records destroyed by a clock that is not trusted", n)
		}
		set(end.Add(-time.Second))
		time.Sleep(destroyEvery)
		if n := destroyed(); n != 0 {
			t.Errorf("%d records destroyed before their time", n)
		}
		set(end)
		time.Sleep(destroyEvery)
		if n := destroyed(); n != 3 {
			t.Errorf("%d records destroyed, want 3", n)
		}
		cancel()
		<-ended
	})
}

// A gate that was off as retention ended looks as soon as its time is confirmed: it does not tell of it as overdue until its
// next look.
func TestRetentionLooksOnceTheTimeIsConfirmed(t *testing.T) {
	s := newFixture(t)
	j := s.open()
	s.appendOn(j, seoulNoon, visit.ClockSynced, 3)
	synctest.Test(t, func(t *testing.T) {
		end := day.Of(seoulNoon).DestroyAt().Add(time.Hour)
		var confirmed atomic.Bool
		ended := retention(t, j, func() (time.Time, bool) { return end, confirmed.Load() })
		time.Sleep(confirmEvery + time.Second)
		if n := j.Stats().Destroyed; n != 0 {
			t.Errorf("%d records destroyed by a clock that is not trusted", n)
		}
		confirmed.Store(true)
		time.Sleep(confirmEvery)
		if st := j.Stats(); st.Destroyed != 3 || st.Overdue(end) != 0 {
			t.Errorf("%d records destroyed, want 3; overdue %v", st.Destroyed, st.Overdue(end))
		}
		ended()
	})
}
