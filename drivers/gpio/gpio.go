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
	"github.com/kipass/kipass/drivers/internal/device"
)

// operator is what one goroutine does with a bank of lines. Only that goroutine calls its methods.
type operator interface {
	show(c drivers.Cue, now time.Time) error
	due() time.Time // when tick is to be called; zero for not at all
	tick(now time.Time)
	rest() error // brings every line to its safe state
}

// actuator is what lights and relay have in common: a goroutine that owns a bank of lines and its operator. Its methods are
// safe for concurrent use.
type actuator struct {
	worker *device.Worker[drivers.Cue]
	bank   *bank
	wake   chan struct{} // makes the operator tick at once
}

const (
	startLimit = 500 * time.Millisecond // how long making a device waits for its lines
	stuckAfter = time.Second            // when a line that does not answer is a fault
	haltLimit  = time.Second
)

// start lets the operator work. It returns once its lines were tried for the first time, so that they are in their safe
// state as early as can be, but waits for that no longer than startLimit.
func start(b *bank, o operator) actuator {
	wake, tried := make(chan struct{}, 1), make(chan struct{})
	w := device.Work("the GPIO lines", device.ShowLimit, func(ctx context.Context, cues <-chan device.Request[drivers.Cue]) error {
		b.tend(time.Now())
		close(tried)
		operate(ctx, b, o, cues, wake)
		defer b.close()
		return o.rest()
	})
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	select {
	case <-tried:
	case <-limit.C:
	}
	return actuator{worker: w, bank: b, wake: wake}
}

// operate shows cues and does what is due until ctx ends.
func operate(ctx context.Context, b *bank, o operator, cues <-chan device.Request[drivers.Cue], wake <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next := b.due
		if at := o.due(); !at.IsZero() && at.Before(next) {
			next = at
		}
		timer.Reset(time.Until(next))
		select {
		case <-ctx.Done():
			return
		case r := <-cues:
			if r.Ctx.Err() == nil {
				r.Answer(o.show(r.What, time.Now()))
			}
		case <-wake:
		case <-timer.C:
		}
		o.tick(time.Now())
		b.tend(time.Now())
	}
}

// Show acts on the cue and returns when the lines have been set, within 0.9 s. Where a line it needs is not there, the
// error wraps [drivers.ErrUnavailable] or [drivers.ErrLost]; the other lines are set all the same.
func (a actuator) Show(ctx context.Context, c drivers.Cue) error { return a.worker.Do(ctx, c) }

// Check returns nil when every line is open and took what it was last set to, and otherwise what is wrong, for the
// technician. It does not block.
func (a actuator) Check() error { return a.bank.fault() }

// Halt brings every line to its safe state and releases it. The error says which could not be, or that the lines did not
// answer within 1 s.
func (a actuator) Halt() error { return a.worker.Halt(haltLimit) }

func called(what, name string) string {
	if name == "" {
		return what + " (gpio)"
	}
	return fmt.Sprintf("%s (gpio, %s)", what, name)
}
