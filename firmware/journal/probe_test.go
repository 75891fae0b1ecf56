package journal

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
)

// A journal that could not be written is found to be well again without a visit, and not before it is.
func TestAProbeTellsWhenTheJournalCanBeWrittenAgain(t *testing.T) {
	for _, fault := range commitFaults {
		t.Run(fault.name, func(t *testing.T) {
			s := newFixture(t)
			f := &faulty{err: fault.err, persisted: fault.persisted, panics: fault.panics}
			opts := s.options()
			opts.System.Update = f.update
			j, err := Open(opts)
			testkit.Check(t, err)
			s.mustAppend(j, 2)
			f.count = 2
			if err := s.append(j, 1); err == nil {
				t.Fatal("the append did not fail")
			}
			if err := j.Probe(); err == nil || j.Stats().Failed == nil {
				t.Fatalf("probed well on a disk that fails: %+v", j.Stats())
			}
			if f.hits != 2 {
				t.Fatalf("%d commits tried, want 2", f.hits)
			}
			if err := j.Probe(); err != nil || j.Stats().Failed != nil {
				t.Fatalf("%v, %+v", err, j.Stats())
			}
			s.mustAppend(j, 1)
			testkit.Check(t, j.Close())
			if err := j.Probe(); !errors.Is(err, ErrClosed) {
				t.Fatalf("probing a closed journal: %v", err)
			}
			l, err := Contents(opts.Dir)
			testkit.Check(t, err)
			testkit.Check(t, l.Check())
			if n := len(l.Pending.Records); n < 3 || n > 4 {
				t.Errorf("%d records, want the three acknowledged, and at most the one in doubt", n)
			}
		})
	}
}

func TestAProbeAsksForSpaceAsAnAppendDoes(t *testing.T) {
	s := newFixture(t)
	free := uint64(100)
	opts := s.options()
	opts.FreeFloor = 100
	opts.System.Free = func(string) (uint64, error) { return free, nil }
	j, err := Open(opts)
	testkit.Check(t, err)
	free = 99
	j.spaceRead = time.Time{}
	if err := s.append(j, 1); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	if err := j.Probe(); !errors.Is(err, ErrFull) {
		t.Fatalf("probed below the floor: %v", err)
	}
	free = 100
	if err := j.Probe(); err != nil || j.Stats().Failed != nil {
		t.Fatalf("space is back: %v", err)
	}
	j.opts.System.Free = func(string) (uint64, error) { return 0, syscall.EIO }
	j.spaceRead = time.Time{}
	if err := j.Probe(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("free space cannot be read: %v", err)
	}
	testkit.Check(t, j.Close())
}
