package clock

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/protocol/visit"
)

var noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

// fixture is a machine whose real time, wall clock and kernel state a test sets.
type fixture struct {
	real   time.Time
	mono   time.Duration
	wall   time.Time
	kernel KernelTime
	rtc    bool
	failed error
}

const unsynced = 16 * time.Second // what the kernel says after boot or after its clock was set

func newFixture() *fixture {
	return &fixture{real: noon, wall: noon, mono: time.Hour, kernel: KernelTime{MaxError: unsynced}}
}

func (w *fixture) options() Options {
	return Options{
		Skew: DefaultSkew, Now: func() time.Time { return w.wall }, Monotonic: func() time.Duration { return w.mono },
		Kernel: func() (KernelTime, error) { return w.kernel, w.failed }, RTC: func() bool { return w.rtc },
	}
}

func (w *fixture) pass(d time.Duration) {
	w.real, w.wall, w.mono = w.real.Add(d), w.wall.Add(d), w.mono+d
}

// says lets an issuer speak: two codes of it are read that put the time off from the real one.
func (w *fixture) says(c *Clock, issuer string, off time.Duration) {
	for range 2 {
		w.pass(3 * time.Second)
		c.Evidence(issuer, w.real.Add(off-time.Second), 0)
	}
}

// sees checks a reading, its time to the millisecond.
func sees(t *testing.T, r Reading, state visit.ClockState, now time.Time, skew time.Duration) {
	t.Helper()
	if r.State != state || r.Skew != skew || r.Now.Sub(now).Abs() > time.Millisecond {
		t.Fatalf("reads %v, %v ± %v (%s); want %v, %v ± %v", r.State, r.Now.UTC(), r.Skew, r.Source, state, now.UTC(), skew)
	}
}

func TestStates(t *testing.T) {
	const s, us = time.Second, time.Microsecond
	for _, row := range []struct {
		rule  string
		act   func(w *fixture, c *Clock)
		state visit.ClockState
		off   time.Duration // of the reading from real time
		skew  time.Duration
	}{
		{"booted without a clock is untrusted", func(w *fixture, c *Clock) {}, visit.ClockUntrusted, 0, 30 * s},
		{"a kernel error below a second is synced", func(w *fixture, c *Clock) { w.kernel.MaxError = 999_999 * us }, visit.ClockSynced, 0, 2 * s},
		{"a kernel error of a second is not", func(w *fixture, c *Clock) { w.kernel.MaxError = s }, visit.ClockUntrusted, 0, 30 * s},
		{"a kernel that cannot be asked is not", func(w *fixture, c *Clock) { w.kernel.MaxError = 0; w.failed = errors.New("no") }, visit.ClockUntrusted, 0, 30 * s},
		{"holdover begins where the kernel's sync ended", func(w *fixture, c *Clock) {
			w.kernel.MaxError = 0
			c.Read()
			w.kernel.MaxError = unsynced
			w.pass(20_000 * s)
		}, visit.ClockHoldover, 0, 3 * s},
		{"holdover ends where δ would pass 30 s", func(w *fixture, c *Clock) {
			w.kernel.MaxError = 0
			c.Read()
			w.kernel.MaxError = unsynced
			w.pass(560_001 * s)
		}, visit.ClockUntrusted, 0, 30 * s},
		{"just before that δ is 30 s", func(w *fixture, c *Clock) {
			w.kernel.MaxError = 0
			c.Read()
			w.kernel.MaxError = unsynced
			w.pass(560_000 * s)
		}, visit.ClockHoldover, 0, 30 * s},
		{"the server's time corrects a wrong wall clock by half the round trip", func(w *fixture, c *Clock) {
			w.wall = w.wall.Add(-90 * s)
			c.Read()
			c.ServerTime(w.real.Add(-200*time.Millisecond), 400*time.Millisecond)
		}, visit.ClockSynced, 0, 2 * s},
		{"the server's time holds for an hour", func(w *fixture, c *Clock) {
			c.ServerTime(w.real, 0)
			w.pass(time.Hour)
		}, visit.ClockSynced, 0, 2*s + 180*time.Millisecond},
		{"and not longer", func(w *fixture, c *Clock) {
			c.ServerTime(w.real, 0)
			w.pass(time.Hour + s)
		}, visit.ClockHoldover, 0, 2*s + 180050*us},
		{"a slow answer widens δ", func(w *fixture, c *Clock) { c.ServerTime(w.real.Add(-3*s), 6*s) }, visit.ClockSynced, 0, 4 * s},
		{"a very slow answer says nothing", func(w *fixture, c *Clock) { c.ServerTime(w.real.Add(-11*s), 22*s) }, visit.ClockUntrusted, 0, 30 * s},
		{"a slow answer confirms a quick one", func(w *fixture, c *Clock) {
			c.ServerTime(w.real, 0)
			w.pass(59 * time.Minute)
			c.ServerTime(w.real.Add(-3*s), 4*s)
			w.pass(59 * time.Minute)
		}, visit.ClockSynced, 0, 2*s + 354*time.Millisecond},
		{"a synced kernel is believed rather than the server", func(w *fixture, c *Clock) {
			w.kernel.MaxError = 0
			c.ServerTime(w.real.Add(time.Minute), 0)
		}, visit.ClockSynced, 0, 2 * s},
		{"a wall clock that jumps is untrusted, and time goes on from what was known", func(w *fixture, c *Clock) {
			c.ServerTime(w.real, 0)
			w.wall = w.wall.Add(-time.Hour)
		}, visit.ClockUntrusted, 0, 30 * s},
		{"a jump of which the kernel is certain is a correction", func(w *fixture, c *Clock) {
			w.wall = w.wall.Add(-time.Hour)
			c.Read()
			w.wall, w.kernel.MaxError = w.real, 0
		}, visit.ClockSynced, 0, 2 * s},
		{"the server's word ends the distrust after a jump", func(w *fixture, c *Clock) {
			w.wall = w.wall.Add(-time.Hour)
			c.Read()
			c.ServerTime(w.real, 0)
		}, visit.ClockSynced, 0, 2 * s},
		{"slewing is no jump", func(w *fixture, c *Clock) {
			c.ServerTime(w.real, 0)
			w.pass(1000 * s)
			w.wall = w.wall.Add(1400 * time.Millisecond)
		}, visit.ClockSynced, 0, 2*s + 50*time.Millisecond},
	} {
		t.Run(row.rule, func(t *testing.T) {
			w := newFixture()
			c := New(w.options())
			row.act(w, c)
			sees(t, c.Read(), row.state, w.real.Add(row.off), row.skew)
		})
	}
}

func TestABatteryKeptClockIsHoldover(t *testing.T) {
	w := newFixture()
	w.rtc = true
	r := New(w.options()).Read()
	sees(t, r, visit.ClockHoldover, noon, 10*time.Second)
	if !r.Suspect || r.Confirmed {
		t.Errorf("what nothing supports is suspect %v, confirmed %v", r.Suspect, r.Confirmed)
	}
	opts := w.options()
	opts.Floor = noon.Add(time.Minute)
	if r := New(opts).Read(); r.State != visit.ClockUntrusted || !r.Now.Equal(opts.Floor) || r.Suspect {
		t.Fatalf("one that is behind the floor reads %v, %v; want untrusted at the floor", r.State, r.Now)
	}
}

func TestSkewIsCutToWhatAConfigMayAskFor(t *testing.T) {
	for asked, want := range map[time.Duration]time.Duration{-1: 0, 0: 0, time.Minute: MaxConfigSkew} {
		w := newFixture()
		w.kernel.MaxError = 0
		opts := w.options()
		opts.Skew = asked
		sees(t, New(opts).Read(), visit.ClockSynced, noon, want)
	}
}

func TestRunLooksAtTheKernelAndEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		start := time.Now()
		opts := Options{
			Monotonic: func() time.Duration { return time.Since(start) }, RTC: func() bool { return false },
			Kernel: func() (KernelTime, error) { looks++; return KernelTime{}, nil },
			Steps:  func(ctx context.Context, stepped func()) error { stepped(); <-ctx.Done(); return nil },
		}
		c := New(opts)
		ctx, cancel := context.WithTimeout(t.Context(), 10*lookEvery+time.Second)
		defer cancel()
		if err := c.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if looks != 1+1+10 {
			t.Fatalf("looked %d times, want once at first, once for a step, and ten times", looks)
		}
	})
}

func TestRunTellsThatStepsCannotBeWatched(t *testing.T) {
	w := newFixture()
	opts := w.options()
	opts.Steps = func(context.Context, func()) error { return fmt.Errorf("no timer") }
	if err := New(opts).Run(t.Context()); err == nil || errors.Is(err, context.Canceled) {
		t.Fatalf("Run returned %v", err)
	}
}
