package clock

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
		{"two issuers far ahead of a holdover clock end its trust", func(w *fixture, c *Clock) {
			w.kernel.MaxError = 0
			c.Read()
			w.kernel.MaxError = unsynced
			c.Evidence("naver", w.real.Add(5*s))
			c.Evidence("kakao", w.real.Add(5*s))
		}, visit.ClockUntrusted, 5 * s, 30 * s},
		{"one issuer far ahead does not", func(w *fixture, c *Clock) {
			w.kernel.MaxError = 0
			c.Read()
			w.kernel.MaxError = unsynced
			c.Evidence("naver", w.real.Add(5*s))
		}, visit.ClockHoldover, 0, 2 * s},
		{"the floor never overrides a synced clock", func(w *fixture, c *Clock) {
			w.kernel.MaxError = 0
			c.Evidence("naver", w.real.Add(time.Hour))
			c.Evidence("kakao", w.real.Add(time.Hour))
		}, visit.ClockSynced, 0, 2 * s},
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
	sees(t, New(w.options()).Read(), visit.ClockHoldover, noon, 10*time.Second)
	opts := w.options()
	opts.Floor = noon.Add(time.Minute)
	if r := New(opts).Read(); r.State != visit.ClockUntrusted || !r.Now.Equal(opts.Floor) {
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

func TestFloor(t *testing.T) {
	known := noon
	at := func(d time.Duration) time.Time { return known.Add(d) }
	const h = time.Hour
	for _, row := range []struct {
		rule string
		act  func(c *Clock)
		want time.Time
	}{
		{"what was known before the restart holds", func(c *Clock) {}, known},
		{"a genuine code raises it", func(c *Clock) { c.Evidence("naver", at(h/2)) }, at(h / 2)},
		{"an older one does not sink it", func(c *Clock) { c.Evidence("naver", at(h/2)); c.Evidence("naver", at(-h)) }, at(h / 2)},
		{"one issuer reaches an hour", func(c *Clock) { c.Evidence("naver", at(9*h)) }, at(h)},
		{"however often it tries", func(c *Clock) { c.Evidence("naver", at(9*h)); c.Evidence("naver", at(10*h)) }, at(h)},
		{"two carry it on", func(c *Clock) { c.Evidence("naver", at(9*h)); c.Evidence("kakao", at(9*h)) }, at(9 * h)},
		{"an hour past the second", func(c *Clock) {
			c.Evidence("naver", at(99*h))
			c.Evidence("kakao", at(9*h))
			c.Evidence("pass", at(2*h))
		}, at(10 * h)},
		{"the server needs no second", func(c *Clock) { c.ServerTime(at(9*h), 0) }, at(9 * h)},
	} {
		t.Run(row.rule, func(t *testing.T) {
			w := newFixture()
			w.wall = known.Add(-1000 * h)
			opts := w.options()
			opts.Floor = known
			c := New(opts)
			row.act(c)
			r := c.Read()
			if !r.Floor.Equal(row.want) {
				t.Fatalf("floor is %v after what was known, want %v", r.Floor.Sub(known), row.want.Sub(known))
			}
			if r.Now.Before(r.Floor) {
				t.Fatalf("the time read, %v, is before the floor", r.Now)
			}
		})
	}
}

func TestAnIssuerDatingAheadShutsOutItselfOnly(t *testing.T) {
	w := newFixture()
	opts := w.options()
	opts.Floor = noon
	c := New(opts)
	now := noon.Add(10 * time.Minute)
	c.Evidence("rogue", now.Add(48*time.Hour))
	const life = 15 * time.Second
	if !c.MayBeFresh("honest", now, life) {
		t.Fatal("an honest issuer's code is shut out by another's false dates")
	}
	if c.MayBeFresh("rogue", now, life) {
		t.Fatal("an issuer's code from before its newest is taken as possibly fresh")
	}
	c.Evidence("honest", now)
	c.Evidence("other", now)
	for _, row := range []struct {
		age  time.Duration
		want bool
	}{{0, true}, {45 * time.Second, true}, {46 * time.Second, false}, {time.Hour, false}} {
		if got := c.MayBeFresh("honest", now.Add(-row.age), life); got != row.want {
			t.Errorf("code %v behind the issuer's newest: may be fresh %v, want %v", row.age, got, row.want)
		}
	}
}

// What genuine codes prove of the time is handed on, so that it can outlive the clock.
func TestEvidenceIsHandedOn(t *testing.T) {
	w := newFixture()
	opts := w.options()
	var told []time.Time
	opts.Floor = noon.Add(-time.Minute)
	opts.OnEvidence = func(floor time.Time) { told = append(told, floor) }
	c := New(opts)
	c.Evidence("naver", noon.Add(time.Minute))
	c.Evidence("naver", noon)
	w.kernel.MaxError = 0
	w.pass(time.Hour)
	c.Evidence("kakao", noon)
	want := []time.Time{noon.Add(time.Minute), noon.Add(time.Minute), noon.Add(time.Hour)}
	if !slices.EqualFunc(told, want, time.Time.Equal) {
		t.Errorf("told %v, want %v", told, want)
	}
}

func TestLatestIsTheEstimateOrWhatIsCertain(t *testing.T) {
	for _, c := range []struct{ now, floor, want time.Time }{
		{noon, time.Time{}, noon}, {noon, noon.Add(-1), noon}, {noon, noon.Add(1), noon.Add(1)},
	} {
		if got := (Reading{Now: c.now, Floor: c.floor}).Latest(); !got.Equal(c.want) {
			t.Errorf("at %v with floor %v: %v, want %v", c.now, c.floor, got, c.want)
		}
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
