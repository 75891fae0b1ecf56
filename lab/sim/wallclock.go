package sim

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kipass/kipass/firmware/clock"
)

// wallClock is the wall clock of one machine, which may be wrong. Its running time never is.
type wallClock struct {
	mu      sync.Mutex
	offset  time.Duration // of the wall clock from the true time
	synced  bool          // an NTP daemon says so
	battery bool          // the wall clock was set from a battery-kept one at boot
	booted  time.Time
	steps   chan struct{} // receives when the clock was stepped; buffered
}

func newWallClock() *wallClock {
	return &wallClock{synced: true, booted: time.Now(), steps: make(chan struct{}, 1)}
}

func (c *wallClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Round(0).Add(c.offset)
}

func (c *wallClock) running() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.booted)
}

// set makes the clock wrong by offset, and says whether the kernel believes it.
func (c *wallClock) set(offset time.Duration, synced bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stepped := offset != c.offset
	c.offset, c.synced = offset, synced
	if stepped {
		select {
		case c.steps <- struct{}{}:
		default:
		}
	}
}

// right tells whether the clock shows the true time and its machine knows.
func (c *wallClock) right() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset == 0 && c.synced
}

// boot begins the running time anew.
func (c *wallClock) boot() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.booted = time.Now()
}

var errUnsynced = errors.New("clock is not synchronized")

// sources are what a gate's clock asks of this machine.
func (c *wallClock) sources() clock.Options {
	return clock.Options{
		Now: c.now, Monotonic: c.running,
		Kernel: func() (clock.KernelTime, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if !c.synced {
				return clock.KernelTime{}, errUnsynced
			}
			return clock.KernelTime{MaxError: 10 * time.Millisecond}, nil
		},
		RTC: func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.battery
		},
		Steps: func(ctx context.Context, stepped func()) error {
			for {
				select {
				case <-c.steps:
					stepped()
				case <-ctx.Done():
					return nil
				}
			}
		},
	}
}
