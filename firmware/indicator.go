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
	showLimit  = time.Second            // what a driver's Show may take (drivers.Indicator)
	stuckAfter = 3 * time.Second        // when a Show that has not returned is reported
	checkEvery = 500 * time.Millisecond // how often devices are asked whether they would work
	haltLimit  = 2 * time.Second        // how long the end waits for a device that hangs
)

// post stands between the gate and one indicator: a queue of one, in which a later cue replaces a waiting one. Whatever
// the device does, handing over never blocks.
type post struct {
	device drivers.Indicator
	lane   string // the reader whose cues it gets; empty for all
	idle   func() drivers.Light
	board  *health.Board
	cues   chan drivers.Cue

	mu    sync.Mutex
	since time.Time // when the Show under way began; zero if none is
	err   error     // what the last Show returned
}

func newPost(d drivers.Indicator, lane string, idle func() drivers.Light, board *health.Board) *post {
	return &post{device: d, lane: lane, idle: idle, board: board, cues: make(chan drivers.Cue, 1)}
}

// hand gives the device a cue of its lane.
func (p *post) hand(c drivers.Cue) {
	if p.lane != "" && p.lane != c.Lane {
		return
	}
	for {
		select {
		case p.cues <- c:
			return
		default:
		}
		select {
		case <-p.cues:
		default:
		}
	}
}

// run shows cues until ctx ends, then brings the device to its safe state. A device that hangs is left behind.
func (p *post) run(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.show(ctx)
	}()
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			p.check()
			if i, ok := p.device.(drivers.Idler); ok {
				i.SetIdle(p.idle())
			}
		case <-ctx.Done():
		}
	}
	select {
	case <-done:
	case <-time.After(haltLimit):
	}
}

func (p *post) show(ctx context.Context) {
	for {
		select {
		case c := <-p.cues:
			p.begin()
			limited, cancel := context.WithTimeout(ctx, showLimit)
			err := p.device.Show(limited, c)
			cancel()
			p.end(err)
			p.check()
		case <-ctx.Done():
			if err := p.device.Halt(); err != nil {
				p.board.Set(health.IndicatorFailed, p.device.String(), fmt.Sprintf("halting: %v", err))
			}
			return
		}
	}
}

func (p *post) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = time.Now()
}

func (p *post) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since, p.err = time.Time{}, err
}

// check brings the board up to date: a stuck Show, a failed one, or the device's own word.
func (p *post) check() {
	p.mu.Lock()
	since, err := p.since, p.err
	p.mu.Unlock()
	if !since.IsZero() && time.Since(since) > stuckAfter {
		err = fmt.Errorf("does not answer since %v", time.Since(since).Round(time.Second))
	} else if c, ok := p.device.(drivers.Checker); ok {
		err = c.Check()
	}
	if err != nil {
		p.board.Set(health.IndicatorFailed, p.device.String(), err.Error())
	} else {
		p.board.Clear(health.IndicatorFailed, p.device.String())
	}
}
