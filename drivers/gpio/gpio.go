// Package gpio drives the lights, buzzer and gate relay of a lane over GPIO lines, with periph.io on the kernel's GPIO
// character device (/dev/gpiochip*, uAPI v2).
//
// A line is off from the moment it is opened, after Halt, and whenever nothing asks for it. What becomes of it when the
// process is killed is the kernel's business: Raspberry Pi kernels leave an output as it was, others may make an input of
// it. docs/lights.md tells the technician what follows from that for the wiring.
//
// Two things periph cannot do: request an output together with its first value, for which reason an active-low line is
// on for some microseconds when it is opened; and read an output back without turning it into an input, for which reason
// levels are kept here and never read.
package gpio

import (
	"context"
	"fmt"
	"time"

	"github.com/kipass/kipass/drivers"
)

// device is what one goroutine does with a bank of lines. Only that goroutine calls its methods.
type device interface {
	show(c drivers.Cue, now time.Time) error
	due() time.Time // when tick is to be called; zero for not at all
	tick(now time.Time)
	rest() error // brings every line to its safe state
}

// worker is the goroutine that owns a device and its lines. Its methods are safe for concurrent use.
type worker struct {
	bank     *bank
	requests chan request
	wake     chan struct{} // makes the device tick at once
	cancel   context.CancelFunc
	stopped  chan struct{} // closed when the goroutine has ended
	leftover error         // what rest could not do; set before stopped is closed
}

// request is one cue. done gets one answer and has room for it.
type request struct {
	ctx  context.Context
	cue  drivers.Cue
	done chan error
}

const (
	showLimit  = 900 * time.Millisecond // the longest a Show takes
	startLimit = 500 * time.Millisecond // how long making a device waits for its lines
	stuckAfter = time.Second            // when a line that does not answer is a fault
	haltLimit  = time.Second
)

var errHalted = fmt.Errorf("was halted: %w", drivers.ErrUnavailable)

// start lets the device run. It returns once its lines were tried for the first time, so that they are in their safe
// state as early as can be, but waits for that no longer than startLimit.
func start(b *bank, d device) *worker {
	ctx, cancel := context.WithCancel(context.Background())
	w := &worker{bank: b, requests: make(chan request), wake: make(chan struct{}, 1), cancel: cancel, stopped: make(chan struct{})}
	tried := make(chan struct{})
	go func() {
		defer close(w.stopped)
		b.tend(time.Now())
		close(tried)
		w.run(ctx, d)
		w.leftover = d.rest()
		b.close()
	}()
	select {
	case <-tried:
	case <-time.After(startLimit):
	}
	return w
}

func (w *worker) run(ctx context.Context, d device) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next := w.bank.due
		if at := d.due(); !at.IsZero() && at.Before(next) {
			next = at
		}
		timer.Reset(time.Until(next))
		select {
		case <-ctx.Done():
			return
		case r := <-w.requests:
			if r.ctx.Err() == nil {
				r.done <- d.show(r.cue, time.Now())
			}
		case <-w.wake:
		case <-timer.C:
		}
		d.tick(time.Now())
		w.bank.tend(time.Now())
	}
}

// Show acts on the cue and returns when the lines have been set, within 0.9 s. Where a line it needs is not there, the
// error wraps [drivers.ErrUnavailable] or [drivers.ErrLost]; the other lines are set all the same.
func (w *worker) Show(ctx context.Context, c drivers.Cue) error {
	ctx, cancel := context.WithTimeout(ctx, showLimit)
	defer cancel()
	r := request{ctx: ctx, cue: c, done: make(chan error, 1)}
	select {
	case w.requests <- r:
	case <-w.stopped:
		return errHalted
	case <-ctx.Done():
		return fmt.Errorf("waiting for the GPIO lines: %w: %w", ctx.Err(), drivers.ErrUnavailable)
	}
	select {
	case err := <-r.done:
		return err
	case <-w.stopped:
		return errHalted
	case <-ctx.Done():
		return fmt.Errorf("waiting for the GPIO lines: %w: %w", ctx.Err(), drivers.ErrUnavailable)
	}
}

// Check returns nil when every line is open and took what it was last set to, and otherwise what is wrong, for the
// technician. It does not block.
func (w *worker) Check() error { return w.bank.fault() }

// Halt brings every line to its safe state and releases it. The error says which could not be, or that the lines did not
// answer within 1 s.
func (w *worker) Halt() error {
	w.cancel()
	select {
	case <-w.stopped:
		return w.leftover
	case <-time.After(haltLimit):
		return fmt.Errorf("the GPIO lines do not answer: %w", drivers.ErrUnavailable)
	}
}

func called(what, name string) string {
	if name == "" {
		return what + " (gpio)"
	}
	return fmt.Sprintf("%s (gpio, %s)", what, name)
}
