package journal

import (
	"testing"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
)

// A file is large to a test that says so; grownRecords make one and a half of largeFile.
const (
	largeFile    = 256 << 10
	grownRecords = 3000
)

// grown returns a journal to which files are large from large bytes on, and which has grown beyond that by n records.
func grown(s *fixture, large int64, n int) *Journal {
	opts := s.options()
	opts.System.compactFrom = large
	j, err := Open(opts)
	testkit.Check(s.t, err)
	s.t.Cleanup(func() { _ = j.Close() })
	v := s.visit()
	spread(n, func() {
		if _, err := j.Append(s.t.Context(), v); err != nil {
			s.t.Error(err)
		}
	})
	if j.size < large {
		s.t.Fatalf("the file has %d bytes only", j.size)
	}
	return j
}

func TestADrainedJournalGivesItsSpaceBack(t *testing.T) {
	s := newFixture(t)
	j := grown(s, largeFile, grownRecords)
	id := j.Stats().Journal
	testkit.Check(t, j.Settle(visit.Settlement{Journal: id, Through: j.Stats().Head}))
	if st := j.Stats(); j.size >= largeFile || st.Journal != id || st.Head != grownRecords {
		t.Fatalf("%+v", st)
	}
	srv := newServer(s.key)
	l, err := j.Ledger()
	testkit.Check(t, err)
	srv.heads[id] = l.Head
	s.mustAppend(j, 5)
	testkit.Check(t, j.Close())
	s.checkWhole(srv, 0)
}

func TestAMostlyEmptyJournalGivesItsSpaceBackAtTheNextStart(t *testing.T) {
	s := newFixture(t)
	const large, records, left = 2 << 20, 24_000, 10_000 // what is left is more than compactLive
	j := grown(s, large, records)
	testkit.Check(t, j.Settle(visit.Settlement{Journal: j.Stats().Journal, Through: records - left}))
	before := j.size
	if before < large {
		t.Fatal("more than compactLive was copied while appends may wait")
	}
	testkit.Check(t, j.Close())
	opts := s.options()
	opts.System.compactFrom = large
	after, err := Open(opts)
	testkit.Check(t, err)
	if st := after.Stats(); after.size > before*6/10 || st.Backlog != left || st.Head != records {
		t.Fatalf("%d bytes of %d, %+v", after.size, before, st)
	}
	testkit.Check(t, after.Close())
}

func TestCompactionThatFailsLosesNothing(t *testing.T) {
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
			j := grown(s, largeFile, grownRecords)
			sound := j.opts.System
			j.opts.System.Disk = row.disk
			st := j.Stats()
			if err := j.Settle(visit.Settlement{Journal: st.Journal, Through: st.Head}); err != nil {
				t.Fatalf("what was settled is settled, the file's size is no concern of the caller: %v", err)
			}
			l, err := j.Ledger()
			if err != nil || l.Tail.Seq != st.Head {
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
