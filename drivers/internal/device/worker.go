package device

import (
	"context"
	"fmt"
	"time"

	"github.com/kipass/kipass/drivers"
)

// ShowLimit is the longest a Show takes; the contract allows a second.
const ShowLimit = 900 * time.Millisecond

// Worker is the goroutine that owns an indicator's device: it alone touches it, and is told what to do by requests of
// kind T. Its methods are safe for concurrent use.
type Worker[T any] struct {
	device   string
	limit    time.Duration // of a Do
	requests chan Request[T]
	cancel   context.CancelFunc
	stopped  chan struct{} // closed when the goroutine has ended
	leftover error         // what it could not put right at its end; set before stopped is closed
}

// Request is one thing to do. The worker answers each that is not outdated by then.
type Request[T any] struct {
	Ctx  context.Context // ends when nobody waits for the answer any more
	What T

	done chan error // with space for the one answer
}

// Answer ends the wait of the one who asked. It is called once at most and does not block.
func (r Request[T]) Answer(err error) { r.done <- err }

// Work starts the goroutine: run takes requests until its context ends, brings the device to its safe state, and returns
// what of that failed. device names it for people, for example "the GPIO lines"; limit, as a rule [ShowLimit], is the
// longest a Do takes.
func Work[T any](device string, limit time.Duration, run func(ctx context.Context, requests <-chan Request[T]) error) *Worker[T] {
	ctx, cancel := context.WithCancel(context.Background())
	w := &Worker[T]{device: device, limit: limit, requests: make(chan Request[T]), cancel: cancel, stopped: make(chan struct{})}
	go func() {
		defer close(w.stopped)
		w.leftover = run(ctx, w.requests)
	}()
	return w
}

// Do hands a request over and returns the answer to it. When ctx or the worker's limit ends before the answer comes, or
// the worker has been halted, the error wraps [drivers.ErrUnavailable].
func (w *Worker[T]) Do(ctx context.Context, what T) error {
	ctx, cancel := context.WithTimeout(ctx, w.limit)
	defer cancel()
	r := Request[T]{Ctx: ctx, What: what, done: make(chan error, 1)}
	select {
	case w.requests <- r:
	case <-w.stopped:
		return ErrHalted
	case <-ctx.Done():
		return w.late(ctx)
	}
	select {
	case err := <-r.done:
		return err
	case <-w.stopped:
		return ErrHalted
	case <-ctx.Done():
		return w.late(ctx)
	}
}

func (w *Worker[T]) late(ctx context.Context) error {
	return fmt.Errorf("waiting for %s: %w: %w", w.device, ctx.Err(), drivers.ErrUnavailable)
}

// Halt ends the goroutine and returns what it could not put right, or that it had not ended within limit. It may be
// called again.
func (w *Worker[T]) Halt(limit time.Duration) error {
	w.cancel()
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-w.stopped:
		return w.leftover
	case <-late.C:
		return fmt.Errorf("halting %s: no answer within %v: %w", w.device, limit, drivers.ErrUnavailable)
	}
}
