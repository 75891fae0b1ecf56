package journal

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

// settle plays a server that takes the records up to through, but for those refused.
func (s *fixture) settle(j *Journal, through uint64, refused ...uint64) {
	s.t.Helper()
	settled := visit.Settlement{Journal: j.Stats().Journal, Through: through}
	for _, seq := range refused {
		settled.Refused = append(settled.Refused, visit.Refusal{Seq: seq, Reason: "malformed"})
	}
	testkit.Check(s.t, j.Settle(settled))
}

func TestWhatIsKeptAndWhenItIsToGo(t *testing.T) {
	noon := day.Of(seoulNoon)
	for _, c := range []struct {
		rule    string
		prepare func(s *fixture, j *Journal)
		oldest  time.Time
		term    Term
	}{
		{"nothing", func(*fixture, *Journal) {}, time.Time{}, Term{}},
		{"undelivered records go at the end of their 28 days", func(s *fixture, j *Journal) {
			s.appendOn(j, seoulNoon, visit.ClockSynced, 2)
			s.appendOn(j, seoulNoon.AddDate(0, 0, 5), visit.ClockSynced, 2)
		}, seoulNoon, Term{Undelivered, noon.DestroyAt()}},
		{"by the day of their code while no confirmed clock has seen them", func(s *fixture, j *Journal) {
			s.appendOn(j, seoulNoon, visit.ClockUntrusted, 2)
		}, seoulNoon, Term{Undelivered, noon.DestroyAt()}},
		{"and by the day on which one has", func(s *fixture, j *Journal) {
			s.appendOn(j, seoulNoon, visit.ClockUntrusted, 2)
			mustDestroy(s.t.(*testing.T), j, seoulNoon.AddDate(0, 0, 2), 0)
		}, seoulNoon, Term{Undelivered, (noon + 2).DestroyAt()}},
		{"delivered ones go after three days", func(s *fixture, j *Journal) {
			s.appendOn(j, seoulNoon, visit.ClockSynced, 3)
			s.settle(j, 2)
			testkit.Check(s.t, j.Forget(seoulNoon.AddDate(0, 0, 1)))
		}, seoulNoon, Term{Delivered, (noon + 1 + KeepDays + 1).Start()}},
		{"or when their 28 days are over", func(s *fixture, j *Journal) {
			s.appendOn(j, seoulNoon, visit.ClockSynced, 2)
			s.settle(j, 2)
			testkit.Check(s.t, j.Forget(seoulNoon.AddDate(0, 0, 27)))
		}, seoulNoon, Term{Delivered, noon.DestroyAt()}},
		{"once they have gone, the next are the oldest", func(s *fixture, j *Journal) {
			s.appendOn(j, seoulNoon, visit.ClockSynced, 2)
			s.appendOn(j, seoulNoon.AddDate(0, 0, 5), visit.ClockSynced, 2)
			mustDestroy(s.t.(*testing.T), j, noon.DestroyAt(), 2)
		}, seoulNoon.AddDate(0, 0, 5), Term{Undelivered, (noon + 5).DestroyAt()}},
		{"refused ones go at the end of their 28 days", func(s *fixture, j *Journal) {
			s.appendOn(j, seoulNoon, visit.ClockSynced, 2)
			s.appendOn(j, seoulNoon.AddDate(0, 0, 9), visit.ClockSynced, 2)
			s.settle(j, 3, 2)
			for _, days := range []int{1, 9} {
				testkit.Check(s.t, j.Forget(seoulNoon.AddDate(0, 0, days)))
			}
		}, seoulNoon, Term{Refused, noon.DestroyAt()}},
		{"a file set aside goes on the day in its name", func(s *fixture, j *Journal) {
			testkit.Check(s.t, os.WriteFile(filepath.Join(s.dir, "journal-20260310T030000Z-until-2026-03-20-2.damaged"), nil, 0o600))
			testkit.Check(s.t, os.WriteFile(filepath.Join(s.dir, "journal-20260310T030000Z-until-2026-04-08.damaged"), nil, 0o600))
		}, time.Time{}, Term{SetAside, (noon + 29).Start()}},
		{"and by the time of its name before it has one", func(s *fixture, j *Journal) {
			testkit.Check(s.t, os.WriteFile(filepath.Join(s.dir, "journal-20260310T030000Z-2.elsewhere"), nil, 0o600))
		}, time.Time{}, Term{SetAside, noon.DestroyAt()}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := newFixture(t)
			j := s.open()
			c.prepare(s, j)
			j.lookKept()
			st := j.Stats()
			if !st.OldestKept.Equal(c.oldest) || st.Term.What != c.term.What || !st.Term.Due.Equal(c.term.Due) {
				t.Errorf("oldest %v, %q by %v; want %v, %q by %v", st.OldestKept, st.Term.What, st.Term.Due, c.oldest, c.term.What, c.term.Due)
			}
			if c.term.What == "" {
				return
			}
			for late, want := range map[time.Duration]time.Duration{-time.Second: 0, time.Minute: time.Minute} {
				if got := st.Overdue(c.term.Due.Add(late)); got != want {
					t.Errorf("%v after its end it is overdue for %v", late, got)
				}
			}
		})
	}
}

// What cannot be ended is told in the log once, and stands in the stats until it can.
func TestWhatCannotBeEndedIsOverdue(t *testing.T) {
	s := newFixture(t)
	log, lines := testkit.NewLogger()
	opts := s.options()
	opts.Logger = log
	j := testkit.Must(Open(opts))(t)
	defer j.Close()
	s.appendOn(j, seoulNoon, visit.ClockSynced, 3)
	sound := j.opts.System
	j.opts.System.Update = (&faulty{count: 1 << 20, err: errors.New("flush failed")}).update
	now := day.Of(seoulNoon).DestroyAt().Add(2 * time.Hour)
	look := func(t *testing.T) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			ended := retention(t, j, func() (time.Time, bool) { return now, true })
			time.Sleep(3*destroyEvery + time.Second)
			ended()
		})
	}
	look(t)
	if st := j.Stats(); st.Ending == nil || st.Overdue(now) != 2*time.Hour || st.Backlog != 3 {
		t.Errorf("%+v", st)
	}
	if n := lines.Count("ending retention"); n != 1 {
		t.Errorf("told %d times:\n%s", n, lines)
	}
	j.opts.System = sound
	look(t)
	if st := j.Stats(); st.Ending != nil || st.Overdue(now) != 0 || st.Term.What != "" || !st.OldestKept.IsZero() {
		t.Errorf("%+v", st)
	}
}

// Records that have left the file are in its free pages until it is written anew: no longer than a day.
func TestAFileThatCannotBeWrittenAnewIsOverdue(t *testing.T) {
	s := newFixture(t)
	j := s.open()
	s.appendOn(j, seoulNoon, visit.ClockSynced, 3)
	j.opts.System.Disk = refuse("sync", false)
	now := day.Of(seoulNoon).DestroyAt()
	synctest.Test(t, func(t *testing.T) {
		ended := retention(t, j, func() (time.Time, bool) { return now, true })
		time.Sleep(untidyFor - destroyEvery)
		if st := j.Stats(); st.Destroyed != 3 || st.Ending == nil || st.Overdue(now) != 0 {
			t.Errorf("within the day: %+v", st)
		}
		time.Sleep(3 * time.Hour)
		if late := j.Stats().Overdue(now); late < 2*time.Hour || late > 3*time.Hour {
			t.Errorf("after it: overdue for %v", late)
		}
		ended()
	})
}
