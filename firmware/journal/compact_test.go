package journal

import (
	"testing"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/protocol/visit"
)

// large is what the tests below take for a large file, and grownRecords what makes one and a half.
const (
	large        = 2 << 20
	grownRecords = 24_000
)

// grown returns a journal whose file has grown beyond large.
func grown(s *surroundings) *Journal {
	o := s.options()
	o.sys.compactFrom = large
	j, err := Open(o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = j.Close() })
	v := s.visit()
	spread(grownRecords, func() {
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
	s := newSurroundings(t)
	j := grown(s)
	id := j.Stats().Journal
	if err := j.Settle(visit.Settlement{Journal: id, Through: j.Stats().Head}); err != nil {
		t.Fatal(err)
	}
	if st := j.Stats(); st.FileSize >= large || st.Journal != id || st.Head != grownRecords {
		t.Fatalf("%+v", st)
	}
	srv := newServer(s.key)
	l, err := j.Ledger()
	if err != nil {
		t.Fatal(err)
	}
	srv.heads[id] = l.Head
	s.mustAppend(j, 5)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	s.checkWhole(srv, 0)
}

func TestAMostlyEmptyJournalGivesItsSpaceBackAtTheNextStart(t *testing.T) {
	s := newSurroundings(t)
	j := grown(s)
	const left = 10_000 // more than compactLive
	if err := j.Settle(visit.Settlement{Journal: j.Stats().Journal, Through: grownRecords - left}); err != nil {
		t.Fatal(err)
	}
	before := j.size
	if before < large {
		t.Fatal("more than compactLive was copied while appends may wait")
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	o := s.options()
	o.sys.compactFrom = large
	after, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if st := after.Stats(); after.size > before*6/10 || st.Backlog != left || st.Head != grownRecords {
		t.Fatalf("%d bytes of %d, %+v", after.size, before, st)
	}
	if err := after.Close(); err != nil {
		t.Fatal(err)
	}
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
			s := newSurroundings(t)
			j := grown(s)
			sound := j.opt.sys
			j.opt.sys.disk = row.disk
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
			j.opt.sys = sound
			s.mustAppend(j, 5)
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			srv := newServer(s.key)
			srv.heads[l.Journal] = l.Head
			s.checkWhole(srv, 0)
		})
	}
}
