package firmware

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/firmware/health"
)

const (
	showLimit  = time.Second     // what a driver's Show may take (drivers.Indicator)
	stuckAfter = 3 * time.Second // when a Show that has not returned is reported
	haltLimit  = 2 * time.Second // how long the end waits for a device that hangs
)

// dispatcher stands between the gate and one indicator: a queue of one, in which a later cue replaces a waiting one. Whatever
// the device does, handing over never blocks. A cue that is late when the device could take it is dropped.
type dispatcher struct {
	device drivers.Indicator
	lane   string // the reader whose cues it gets; empty for all
	idle   func() drivers.Light
	board  *health.Board
	every  time.Duration // how often the device is asked whether it would work
	cues   chan drivers.Cue

	mu    sync.Mutex
	began time.Time // when the Show under way began; zero if none is
	err   error     // what the last Show returned
}

func newDispatcher(l Lane, idle func() drivers.Light, board *health.Board, every time.Duration) *dispatcher {
	return &dispatcher{
		device: l.Indicator, lane: l.Reader, idle: idle, board: board, every: every, cues: make(chan drivers.Cue, 1),
	}
}

// offer gives the device a cue of its lane.
func (d *dispatcher) offer(c drivers.Cue) {
	if d.lane != "" && d.lane != c.Lane {
		return
	}
	for {
		select {
		case d.cues <- c:
			return
		default:
		}
		select {
		case <-d.cues:
		default:
		}
	}
}

// run shows cues until ctx ends, then brings the device to its safe state. A device that hangs is left behind.
func (d *dispatcher) run(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.show(ctx)
	}()
	tick := time.NewTicker(d.every)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			d.check()
			if i, ok := d.device.(drivers.Idler); ok {
				i.SetIdle(d.idle())
			}
		case <-ctx.Done():
		}
	}
	select {
	case <-done:
	case <-time.After(haltLimit):
	}
}

func (d *dispatcher) show(ctx context.Context) {
	for {
		select {
		case c := <-d.cues:
			if !c.Late(time.Now()) {
				d.begin()
				d.end(d.hand(ctx, c))
			}
			d.check()
		case <-ctx.Done():
			if err := d.device.Halt(); err != nil {
				d.board.Set(health.IndicatorFailed, d.device.String(), fmt.Sprintf("halting: %v", err))
			}
			return
		}
	}
}

// hand gives the device a cue, which it may begin until showLimit has passed or the cue is late.
func (d *dispatcher) hand(ctx context.Context, c drivers.Cue) error {
	limit := time.Now().Add(showLimit)
	if !c.By.IsZero() && c.By.Before(limit) {
		limit = c.By
	}
	limited, cancel := context.WithDeadline(ctx, limit)
	defer cancel()
	return d.device.Show(limited, c)
}

func (d *dispatcher) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.began = time.Now()
}

func (d *dispatcher) end(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.began, d.err = time.Time{}, err
}

// check brings the board up to date: a stuck Show, a failed one, or the device's own word.
func (d *dispatcher) check() {
	d.mu.Lock()
	began, err := d.began, d.err
	d.mu.Unlock()
	if !began.IsZero() && time.Since(began) > stuckAfter {
		err = fmt.Errorf("has not answered for %v", time.Since(began).Round(time.Second))
	} else if c, ok := d.device.(drivers.Checker); ok {
		err = c.Check()
	}
	if err != nil {
		d.board.Set(health.IndicatorFailed, d.device.String(), err.Error())
	} else {
		d.board.Clear(health.IndicatorFailed, d.device.String())
	}
}
