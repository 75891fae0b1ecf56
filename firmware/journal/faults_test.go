package journal

import (
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
)

// The kinds of a failing commit. persisted: the commit is on the disk, and its caller is told that it failed.
var commitFaults = []struct {
	name      string
	err       error
	persisted bool
	panics    bool
}{
	{name: "flush failed", err: syscall.EIO},
	{name: "flush failed but persisted", err: syscall.EIO, persisted: true},
	{name: "write failed, disk full", err: &os.PathError{Op: "write", Path: "journal.db", Err: syscall.ENOSPC}},
	{name: "flush failed, disk full, but persisted", err: syscall.ENOSPC, persisted: true},
	{name: "stopped by a memory fault", panics: true},
	{name: "stopped by a memory fault but persisted", panics: true, persisted: true},
}

// faulty makes the commit after the next skip ones fail, count times.
type faulty struct {
	skip, count int
	err         error
	persisted   bool
	panics      bool
	hits        int
}

func (f *faulty) update(db *bolt.DB, fn func(*bolt.Tx) error) error {
	if f.skip > 0 || f.count == 0 {
		f.skip--
		return db.Update(fn)
	}
	f.count--
	f.hits++
	if f.persisted {
		if err := db.Update(fn); err != nil {
			return err
		}
		if f.panics {
			panic("injected")
		}
		return f.err
	}
	return db.Update(func(tx *bolt.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		if f.panics {
			panic("injected")
		}
		return f.err
	})
}

// operations are what a journal may be doing when a commit fails. Each starts with six records taken by the server, of which
// three are settled, and does what it does until it works or three tries have failed.
var operations = []struct {
	name string
	act  func(s *fixture, j *Journal, srv *server) error
	gone int // acknowledged visits that rightly never reach the server
}{
	{name: "append", act: func(s *fixture, j *Journal, _ *server) error { return s.append(j, 1) }},
	{name: "append that begins an epoch", act: func(s *fixture, j *Journal, _ *server) error {
		s.now = s.now.Add(24 * time.Hour)
		return s.append(j, 1)
	}},
	{name: "settle", act: func(_ *fixture, j *Journal, srv *server) error {
		seg, err := j.Peek(2, 1<<20)
		if err != nil {
			return err
		}
		if err := srv.take(seg); err != nil {
			return err
		}
		return j.Settle(visit.Settlement{Journal: seg.Journal, Through: seg.Through()})
	}},
	{name: "settle with a refusal", act: func(_ *fixture, j *Journal, srv *server) error {
		seg, err := j.Peek(3, 1<<20)
		if err != nil || len(seg.Records) == 0 {
			return err
		}
		if err := srv.take(seg); err != nil {
			return err
		}
		return j.Settle(visit.Settlement{
			Journal: seg.Journal, Through: seg.Through(), Refused: []visit.Refusal{{Seq: seg.Through(), Reason: "malformed"}},
		})
	}},
	{name: "resend", act: func(_ *fixture, j *Journal, _ *server) error {
		_, err := j.Resend(j.Stats().Journal, 1)
		return err
	}},
	{name: "forget", act: func(s *fixture, j *Journal, _ *server) error { return j.Forget(s.now) }},
	{name: "drop", act: func(_ *fixture, j *Journal, _ *server) error { return j.drop(2) }},
	{name: "destroy", gone: 0, act: func(s *fixture, j *Journal, _ *server) error {
		_, err := j.Destroy(s.now.AddDate(0, 0, 29))
		return err
	}},
}

func TestACommitThatFailsLosesNothingAndRepeatsNothing(t *testing.T) {
	for _, fault := range commitFaults {
		for _, operation := range operations {
			for _, times := range []int{1, 2} {
				t.Run(operation.name+", "+fault.name, func(t *testing.T) {
					s := newFixture(t)
					f := &faulty{skip: 1 << 30}
					opts := s.options()
					opts.System.Update = f.update
					j, err := Open(opts)
					testkit.Check(t, err)
					srv := newServer(s.key)
					s.mustAppend(j, 6)
					seg, err := j.Peek(6, 1<<20)
					if err == nil {
						err = srv.take(seg)
					}
					if err == nil {
						err = j.Settle(visit.Settlement{Journal: seg.Journal, Through: 3})
					}
					testkit.Check(t, err)
					*f = faulty{count: times, err: fault.err, persisted: fault.persisted, panics: fault.panics}
					first := operation.act(s, j, srv)
					for range 3 {
						if err = operation.act(s, j, srv); err == nil {
							break
						}
					}
					if first == nil || f.hits == 0 {
						t.Fatalf("the fault did not show: %v, %d hits", first, f.hits)
					}
					if err != nil {
						t.Fatalf("the journal did not recover: %v", err)
					}
					if st := j.Stats(); len(st.Replaced) != 0 || st.Damage != "" {
						t.Fatalf("a sound file was set aside: %+v", st)
					}
					testkit.Check(t, j.Close())
					s.checkWhole(srv, operation.gone)
				})
			}
		}
	}
}

func TestTheTimeFloorThatFailsToPersistOnClose(t *testing.T) {
	for _, fault := range commitFaults {
		t.Run(fault.name, func(t *testing.T) {
			s := newFixture(t)
			f := &faulty{skip: 1 << 30}
			opts := s.options()
			opts.System.Update = f.update
			j, err := Open(opts)
			testkit.Check(t, err)
			s.mustAppend(j, 2)
			j.KeepTimeFloor(seoulNoon)
			*f = faulty{count: 1, err: fault.err, persisted: fault.persisted, panics: fault.panics}
			if err := j.Close(); err == nil {
				t.Fatal("Close does not tell")
			}
			s.checkWhole(newServer(s.key), 0)
			if got := s.open().TimeFloor(); got.Equal(seoulNoon) != fault.persisted {
				t.Fatalf("floor is %v", got)
			}
		})
	}
}

// refuse returns a disk on which every step of one name fails; persisted: it is done, and its caller told that it failed.
func refuse(step string, persisted bool) durable.Disk {
	return durable.Disk{Step: func(name string, do func() error) error {
		if name != step {
			return do()
		}
		if persisted {
			return errors.Join(do(), syscall.EIO)
		}
		return syscall.EIO
	}}
}

// After a failed flush the content is written into a new file; here the ways in which that may fail in its turn.
func TestRewritingThatFails(t *testing.T) {
	for _, row := range []struct {
		name string
		disk durable.Disk
	}{
		{"rename failed", refuse("rename", false)},
		{"rename failed but persisted", refuse("rename", true)},
		{"directory not flushed", refuse("sync folder", false)},
		{"directory flushed, though it was said to have failed", refuse("sync folder", true)},
		{"new file not flushed", refuse("sync", false)},
		{"new file flushed, though it was said to have failed", refuse("sync", true)},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newFixture(t)
			j := s.open()
			srv := newServer(s.key)
			s.mustAppend(j, 5)
			sound := j.opts.System
			f := &faulty{count: 1, err: syscall.EIO}
			j.opts.System.Update = f.update
			j.opts.System.Disk = row.disk
			for range 3 {
				if err := s.append(j, 1); err == nil {
					t.Fatal("an append was acknowledged on a file that is not known to be on the disk")
				}
			}
			if seg, err := j.Peek(100, 1<<20); err != nil || len(seg.Records) != 5 {
				t.Fatalf("peek: %d records, %v", len(seg.Records), err)
			}
			j.opts.System = sound
			s.mustAppend(j, 2)
			testkit.Check(t, j.Close())
			s.checkWhole(srv, 0)
		})
	}
}

func TestAnAppendGivenUpByItsCallerIsNotSealed(t *testing.T) {
	s := newFixture(t)
	j := s.open()
	j.writeSem <- struct{}{} // a commit is under way
	ctx, cancel := contextWithCancel(t)
	failed := make(chan error)
	go func() {
		_, err := j.Append(ctx, s.visit())
		failed <- err
	}()
	waitQueued(j, 1)
	cancel()
	if err := <-failed; !errors.Is(err, ctx.Err()) {
		t.Fatal(err)
	}
	<-j.writeSem
	s.mustAppend(j, 1)
	if got := j.Stats().Head; got != 1 {
		t.Fatalf("head is %d, want 1", got)
	}
}

func TestAppendsThatArriveTogetherShareOneCommit(t *testing.T) {
	s := newFixture(t)
	commits := 0
	opts := s.options()
	opts.System.Update = func(db *bolt.DB, fn func(*bolt.Tx) error) error { commits++; return db.Update(fn) }
	j, err := Open(opts)
	testkit.Check(t, err)
	j.writeSem <- struct{}{} // a commit is under way
	const n = 40
	failed := make(chan error, n)
	for range n {
		go func() { failed <- s.append(j, 1) }()
	}
	waitQueued(j, n)
	<-j.writeSem
	for range n {
		testkit.Check(t, <-failed)
	}
	if commits != 1 {
		t.Fatalf("%d appends took %d commits", n, commits)
	}
	testkit.Check(t, j.Close())
	s.checkWhole(newServer(s.key), 0)
}
