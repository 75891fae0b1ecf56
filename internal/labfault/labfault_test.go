package labfault

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/internal/testkit"
)

func newFaults(t *testing.T) (*Faults, func(State)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "faults")
	t.Setenv(Variable, path)
	return FromEnvironment(), func(s State) { testkit.Check(t, s.Write(path)) }
}

func TestNothingIsWrongWithoutTheVariable(t *testing.T) {
	t.Setenv(Variable, "")
	if f := FromEnvironment(); f != nil {
		t.Errorf("%+v", f)
	}
}

func TestTheClockIsShiftedAsItRuns(t *testing.T) {
	f, set := newFaults(t)
	synctest.Test(t, func(t *testing.T) {
		for _, shift := range []time.Duration{0, 9 * time.Hour, -40 * time.Second, 0} {
			set(State{Clock: shift, Source: "battery"})
			time.Sleep(LookEvery)
			if got := time.Until(f.Now()); got != shift || f.State().Source != "battery" {
				t.Errorf("%v ahead, want %v; %+v", got, shift, f.State())
			}
		}
	})
}

func TestTheDiskIsSlowOrFails(t *testing.T) {
	f, set := newFaults(t)
	synctest.Test(t, func(t *testing.T) {
		done := 0
		commit := func(fail error) error {
			if fail == nil {
				done++
			}
			return fail
		}
		step := func() error { done++; return nil }
		for _, c := range []struct {
			rule   string
			state  State
			do     func() error
			err    error
			done   int
			within time.Duration
		}{
			{"a commit on a good disk", State{}, func() error { return f.Commit(commit) }, nil, 1, 0},
			{"a commit is two flushes", State{Flush: time.Second}, func() error { return f.Commit(commit) }, nil, 1, 2 * time.Second},
			{"a commit that fails", State{Fail: true}, func() error { return f.Commit(commit) }, syscall.EIO, 0, 0},
			{"the next is on the disk", State{Fail: true}, func() error { return f.Commit(commit) }, syscall.EIO, 1, 0},
			{"a file is flushed", State{Flush: time.Second}, func() error { return f.Step("sync", step) }, nil, 1, time.Second},
			{"and fails", State{Fail: true}, func() error { return f.Step("sync", step) }, syscall.EIO, 0, 0},
			{"renaming goes on", State{Flush: time.Second, Fail: true}, func() error { return f.Step("rename", step) }, nil, 1, 0},
		} {
			set(c.state)
			time.Sleep(LookEvery)
			done = 0
			began := time.Now()
			if err := c.do(); !errors.Is(err, c.err) || done != c.done || time.Since(began) != c.within {
				t.Errorf("%s: %v after %v, done %d times", c.rule, err, time.Since(began), done)
			}
		}
	})
}
