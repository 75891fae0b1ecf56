package journal

import (
	"errors"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
)

// grown returns a journal of n records, all settled and no longer kept.
func grown(s *fixture, n int) *Journal {
	s.t.Helper()
	j := s.open()
	v := s.visit()
	spread(n, func() {
		if _, err := j.Append(s.t.Context(), v); err != nil {
			s.t.Error(err)
		}
	})
	testkit.Check(s.t, j.Settle(visit.Settlement{Journal: j.Stats().Journal, Through: uint64(n)}))
	testkit.Check(s.t, j.drop(uint64(n)))
	return j
}

// live makes the journal one of more content than is copied at any time.
func live(s *fixture, j *Journal) {
	s.t.Helper()
	v := s.visit()
	spread(tidyLive/64, func() {
		if _, err := j.Append(s.t.Context(), v); err != nil {
			s.t.Error(err)
		}
	})
	if _, n := j.fill(); n <= tidyLive {
		s.t.Fatalf("only %d bytes are live", n)
	}
}

func TestAFileIsWrittenAnewWhenRecordsHaveLeftIt(t *testing.T) {
	for _, row := range []struct {
		rule    string
		prepare func(s *fixture, j *Journal)
		anew    bool
	}{
		{"at once if there is little in it", func(*fixture, *Journal) {}, true},
		{"also while visitors come", func(s *fixture, j *Journal) { s.mustAppend(j, 1) }, true},
		{"not while visitors come if there is much in it", live, false},
		{"but in a quiet minute", func(s *fixture, j *Journal) { live(s, j); j.appended = time.Now().Add(-quietFor) }, true},
		{"or after a day without one", func(s *fixture, j *Journal) { live(s, j); j.untidy = time.Now().Add(-untidyFor) }, true},
		{"not twice", func(s *fixture, j *Journal) { testkit.Check(s.t, j.tidy()) }, false},
		{"not while it cannot be trusted", func(_ *fixture, j *Journal) { j.suspect = errors.New("a flush failed") }, false},
	} {
		t.Run(row.rule, func(t *testing.T) {
			s := newFixture(t)
			j := grown(s, 3000)
			row.prepare(s, j)
			before, file := j.Stats(), j.file
			testkit.Check(t, j.tidy())
			if anew := j.file != file; anew != row.anew {
				t.Fatalf("written anew: %v, want %v", anew, row.anew)
			}
			if row.anew && j.state.removed != 0 {
				t.Errorf("%d records have left it since", j.state.removed)
			}
			after := j.Stats()
			if after.Journal != before.Journal || after.Head != before.Head || after.Backlog != before.Backlog {
				t.Errorf("%+v, before %+v", after, before)
			}
			l, err := j.Ledger()
			testkit.Check(t, err)
			testkit.Check(t, l.Check())
			s.checkStructure(j)
		})
	}
}

// What is to be written anew is known after a restart.
func TestARestartForgetsNoRecordThatHasLeft(t *testing.T) {
	s := newFixture(t)
	j := grown(s, 100)
	testkit.Check(t, j.Close())
	j = s.open()
	file := j.file
	testkit.Check(t, j.tidy())
	if j.file == file {
		t.Error("the file was not written anew")
	}
}

func TestRewritingThatFailsLosesNothing(t *testing.T) {
	for _, row := range []struct {
		name string
		disk durable.Disk
		open bool // appends go on: the file in use is still the one that will be found
	}{
		{"rename failed", refuse("rename", false), false},
		{"rename failed but persisted", refuse("rename", true), false},
		{"directory not flushed", refuse("sync folder", false), false},
		{"directory flushed, though it was said to have failed", refuse("sync folder", true), false},
		{"new file not flushed", refuse("sync", false), true},
		{"new file flushed, though it was said to have failed", refuse("sync", true), true},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newFixture(t)
			j := grown(s, 3000)
			sound := j.opts.System
			j.opts.System.Disk = row.disk
			j.tidy()
			l, err := j.Ledger()
			if err != nil || l.Tail.Seq != 3000 {
				t.Fatalf("tail is %d, %v", l.Tail.Seq, err)
			}
			if err := s.append(j, 1); (err == nil) != row.open {
				t.Fatalf("an append on a file that may not be found at the next start must fail, and no other: %v", err)
			}
			j.opts.System = sound
			s.mustAppend(j, 5)
			testkit.Check(t, j.Close())
			srv := newServer(s.key)
			srv.heads[l.Journal] = l.Head
			s.checkWhole(srv, 0)
		})
	}
}

// What is kept for a server that asks again never costs a visitor: it goes when there is no other space.
func TestWhatIsKeptYieldsToVisitors(t *testing.T) {
	for _, row := range []struct {
		rule string
		free func(j *Journal) uint64
		runs int // of a hundred visits, each delivered at once
	}{
		{"limit of the file", func(*Journal) uint64 { return 1 << 30 }, 200},
		{"floor of free disk", func(j *Journal) uint64 {
			if j.state.kept() > 150 {
				return 99
			}
			return 100
		}, 3},
	} {
		t.Run(row.rule, func(t *testing.T) {
			s := newFixture(t)
			opts := s.options()
			opts.FreeFloor, opts.MaxSize = 100, 1<<20
			j, err := Open(opts)
			testkit.Check(t, err)
			j.opts.System.Free = func(string) (uint64, error) { return row.free(j), nil }
			srv := newServer(s.key)
			most := uint64(0)
			for range row.runs {
				j.spaceRead = time.Time{}
				s.mustAppend(j, 100)
				testkit.Check(t, srv.drain(j, 100))
				most = max(most, j.Stats().Kept)
			}
			if st := j.Stats(); most < 100 || st.Kept == uint64(100*row.runs) {
				t.Errorf("%d of %d are kept, at most %d were", st.Kept, 100*row.runs, most)
			}
			testkit.Check(t, j.Close())
			s.checkWhole(srv, 0)
		})
	}
}
