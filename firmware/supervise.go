package firmware

import (
	"context"
	"errors"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/firmware/health"
)

const (
	minReopen   = 100 * time.Millisecond
	maxReopen   = time.Second
	steadyAfter = 2 * time.Second // a run this long ends the patience with a flapping device
)

// supervise keeps one reader running until ctx ends: a lost device is opened again, ever more patiently up to a second, and
// at once when it is known to have returned.
func supervise(ctx context.Context, r drivers.Reader, emit func(drivers.Read), board *health.Board) {
	pause := minReopen
	returned := returnOf(ctx, r)
	for {
		select {
		case <-returned: // what came before this attempt, it sees
		default:
		}
		start := time.Now()
		err := r.Run(ctx, emit)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("stopped without a reason")
		}
		board.Set(health.ReaderLost, r.String(), err.Error())
		if time.Since(start) > steadyAfter {
			pause = minReopen
		}
		select {
		case <-time.After(pause):
		case <-returned:
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, maxReopen)
	}
}

// returnOf returns a channel that tells when the reader's device returns; nil for one of which nobody can tell.
func returnOf(ctx context.Context, r drivers.Reader) <-chan struct{} {
	if device, ok := r.(drivers.Returner); ok {
		if returned, err := device.Returned(ctx); err == nil {
			return returned
		}
	}
	return nil
}

// watchReader keeps the board true to a reader's own word until ctx ends, and switches the reader off while the gate is out
// of service, where the device has a switch.
func watchReader(ctx context.Context, r drivers.Reader, inService func() bool, board *health.Board, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	active := true // as every reader begins
	for {
		select {
		case <-tick.C:
			reportReader(r, r.Check(), board)
			if wanted := inService(); wanted != active {
				active = wanted
				if s, ok := r.(drivers.Switchable); ok {
					// A device without a switch goes on reading: its codes then get the outcome out-of-service.
					_ = s.SetActive(ctx, active)
				}
			}
		case <-ctx.Done():
			return
		}
	}
}

// reportReader notes what a reader says of itself: one fault at a time.
func reportReader(r drivers.Reader, err error, board *health.Board) {
	var fault health.Code
	switch {
	case err == nil:
	case errors.Is(err, drivers.ErrLost), errors.Is(err, drivers.ErrUnavailable):
		fault = health.ReaderLost
	case errors.Is(err, drivers.ErrTurnedAway):
		fault = health.ReaderIntruded
	default: // it is there, but its settings are wrong
		fault = health.ReaderGarbled
	}
	for _, code := range []health.Code{health.ReaderLost, health.ReaderGarbled, health.ReaderIntruded} {
		if code == fault {
			board.Set(code, r.String(), err.Error())
		} else {
			board.Clear(code, r.String())
		}
	}
}
