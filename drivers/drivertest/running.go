package drivertest

import (
	"context"
	"testing"
	"time"

	"github.com/kipass/kipass/drivers"
)

// Running is one Run of a reader that lasts until the test ends or the device is lost.
type Running struct {
	t     *testing.T
	reads chan drivers.Read
	done  chan struct{}
	err   error // what Run returned; set before done is closed
}

// Run runs a reader once, and ends it with the test. It does not wait for the device to be open; see [Opened].
func Run(t *testing.T, r drivers.Reader) *Running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	run := &Running{t: t, reads: make(chan drivers.Read, 1<<12), done: make(chan struct{})}
	go func() {
		defer close(run.done)
		run.err = r.Run(ctx, func(read drivers.Read) { run.reads <- read })
	}()
	t.Cleanup(func() {
		cancel()
		_ = run.Err()
	})
	return run
}

// Opened waits until the reader's device is open and well.
func Opened(t *testing.T, r drivers.Reader) {
	t.Helper()
	Await(t, "the device to open", func() bool { return r.Check() == nil })
}

// Frames returns the channel of the frames that came, for a test that waits for more than one thing.
func (r *Running) Frames() <-chan drivers.Read { return r.reads }

// Next returns the next frame.
func (r *Running) Next() drivers.Read {
	r.t.Helper()
	select {
	case read := <-r.reads:
		return read
	case <-time.After(patience):
		r.t.Fatal("no frame came")
		panic("unreachable")
	}
}

// Want checks that the next frames are exactly these.
func (r *Running) Want(frames ...string) {
	r.t.Helper()
	for _, want := range frames {
		if got := string(r.Next().Data); got != want {
			r.t.Fatalf("got the frame %.60q of %d bytes, want %.60q of %d", got, len(got), want, len(want))
		}
	}
}

// Err waits until Run has returned and returns what it did.
func (r *Running) Err() error {
	r.t.Helper()
	select {
	case <-r.done:
		return r.err
	case <-time.After(patience):
		r.t.Fatal("Run did not return")
		panic("unreachable")
	}
}

// Await waits until something that has no event of its own is so. It ends the test after minutes: that is for hung tests,
// and says nothing of how soon it should be so.
func Await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
