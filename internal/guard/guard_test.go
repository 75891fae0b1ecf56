package guard

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/protocol/day"
)

const oneDay = 24 * time.Hour

var someDay = day.Of(time.Date(2020, 7, 1, 0, 0, 0, 0, day.Seoul()))

// clocks are a wall clock and a running time that a test drives apart.
type clocks struct {
	t    *testing.T
	path string
	wall time.Time
	ran  time.Duration
	*Clock
}

func newClocks(t *testing.T) *clocks {
	c := &clocks{t: t, path: filepath.Join(t.TempDir(), "clock"), wall: time.Date(2020, 7, 1, 12, 0, 0, 0, day.Seoul())}
	c.open()
	return c
}

func (c *clocks) open() {
	c.t.Helper()
	var err error
	c.ran = 0
	if c.Clock, err = Open(c.path, func() time.Time { return c.wall }, func() time.Duration { return c.ran }, durable.Disk{}); err != nil {
		c.t.Fatal(err)
	}
}

// run lets both clocks go on, looking every hour.
func (c *clocks) run(d time.Duration) {
	for ; d > 0; d -= time.Hour {
		c.wall, c.ran = c.wall.Add(min(d, time.Hour)), c.ran+min(d, time.Hour)
		c.look()
	}
}

func (c *clocks) jump(d time.Duration) { c.wall = c.wall.Add(d) }

// off ends the program, cleanly or not, and starts it again after d.
func (c *clocks) off(d time.Duration, clean bool) {
	c.t.Helper()
	if clean {
		if err := c.Close(); err != nil {
			c.t.Fatal(err)
		}
	}
	c.wall = c.wall.Add(d)
	c.open()
}

func (c *clocks) look() Horizon {
	c.t.Helper()
	h, err := c.Look()
	if err != nil {
		c.t.Fatal(err)
	}
	return h
}

func TestAClockIsBelievedOrDoubted(t *testing.T) {
	for _, test := range []struct {
		rule string
		play func(*clocks)
		held bool
		left time.Duration
	}{
		{"a clock that runs is believed", func(c *clocks) { c.run(40 * oneDay) }, false, 0},
		{"a step within the leeway is believed", func(c *clocks) { c.jump(Leeway) }, false, 0},
		{"a jump beyond it is held back for a day", func(c *clocks) { c.jump(Leeway + time.Second) }, true, Proof},
		{"a month ahead", func(c *clocks) { c.jump(30 * oneDay) }, true, Proof},
		{"a century ahead", func(c *clocks) { c.jump(36525 * oneDay) }, true, Proof},
		{"a jump is still held back just before it has proven itself", func(c *clocks) {
			c.jump(30 * oneDay)
			c.look()
			c.run(Proof - time.Hour)
		}, true, time.Hour},
		{"a jump is believed once it has", func(c *clocks) { c.jump(30 * oneDay); c.look(); c.run(Proof) }, false, 0},
		{"a second jump begins the proof again", func(c *clocks) {
			c.jump(30 * oneDay)
			c.look()
			c.run(Proof - time.Hour)
			c.jump(30 * oneDay)
			c.look()
			c.run(2 * time.Hour)
		}, true, Proof - 2*time.Hour},
		{"put right and wrong again begins the proof again", func(c *clocks) {
			c.jump(30 * oneDay)
			c.look()
			c.run(Proof - 2*time.Hour)
			c.jump(-30 * oneDay)
			c.run(time.Hour)
			c.jump(30 * oneDay)
			c.look()
			c.run(time.Hour)
		}, true, Proof - time.Hour},
		{"steps within the leeway add up", func(c *clocks) {
			for range 4 {
				c.jump(Leeway / 2)
				c.run(time.Hour)
			}
		}, true, Proof - time.Hour}, // the third went beyond the leeway and began the proof; the fourth did not again
		{"a jump that is put right is forgotten", func(c *clocks) { c.jump(30 * oneDay); c.run(time.Hour); c.jump(-30 * oneDay) }, false, 0},
		{"a clock set back destroys nothing early", func(c *clocks) { c.jump(-30 * oneDay) }, false, 0},
		{"set back and forth", func(c *clocks) { c.jump(-30 * oneDay); c.run(time.Hour); c.jump(30 * oneDay) }, false, 0},
		{"set back for long, then far ahead of that", func(c *clocks) { c.jump(-30 * oneDay); c.run(2 * Proof); c.jump(30 * oneDay) }, true, Proof},
		{"an operator's word", func(c *clocks) {
			c.jump(30 * oneDay)
			c.look()
			if err := c.Confirm(); err != nil {
				c.t.Fatal(err)
			}
		}, false, 0},
		{"an operator's word holds after a restart, and not for another jump", func(c *clocks) {
			c.jump(30 * oneDay)
			if err := c.Confirm(); err != nil {
				c.t.Fatal(err)
			}
			c.off(time.Minute, false)
			c.jump(30 * oneDay)
		}, true, Proof},
		{"off for a weekend", func(c *clocks) { c.off(60*time.Hour, true) }, false, 0},
		{"off for a week looks like a jump", func(c *clocks) { c.off(7*oneDay, true) }, true, Proof},
		{"off for a week, then on for a day", func(c *clocks) { c.off(7*oneDay, true); c.run(Proof) }, false, 0},
		{"off every night for a month", func(c *clocks) {
			for range 30 {
				c.run(10 * time.Hour)
				c.off(14*time.Hour, true)
			}
		}, false, 0},
		{"killed every night for a month", func(c *clocks) {
			for range 30 {
				c.run(10 * time.Hour)
				c.off(14*time.Hour, false)
			}
		}, false, 0},
		{"a proof goes on over a restart", func(c *clocks) {
			c.jump(30 * oneDay)
			c.look()
			c.run(Proof / 2)
			c.off(time.Hour, true)
			c.run(Proof / 2)
		}, false, 0},
		{"a jump at a restart", func(c *clocks) { c.off(time.Minute, true); c.jump(30 * oneDay) }, true, Proof},
		{"the file is lost", func(c *clocks) {
			if err := os.Remove(c.path); err != nil {
				c.t.Fatal(err)
			}
			c.off(time.Minute, false)
		}, true, Proof},
		{"the file is damaged", func(c *clocks) {
			if err := os.WriteFile(c.path, []byte(`{"version":1,"known":"2020`), 0o600); err != nil {
				c.t.Fatal(err)
			}
			c.off(time.Minute, false)
		}, true, Proof},
		{"the file is lost, a day later", func(c *clocks) {
			if err := os.Remove(c.path); err != nil {
				c.t.Fatal(err)
			}
			c.off(time.Minute, false)
			c.run(Proof)
		}, false, 0},
	} {
		t.Run(test.rule, func(t *testing.T) {
			c := newClocks(t)
			if h := c.look(); !h.Held() || !h.By.IsZero() {
				t.Fatalf("a new guard knows %+v", h)
			}
			c.run(2 * Proof)
			test.play(c)
			h := c.look()
			if h.Held() != test.held || h.Left != test.left || !h.Now.Equal(c.wall) {
				t.Errorf("held %v, %v left; want %v, %v", h.Held(), h.Left, test.held, test.left)
			}
			if !h.Held() && !h.By.Equal(c.wall) {
				t.Errorf("believes %v at %v", h.By, c.wall)
			}
		})
	}
}

// What was due without the jump falls due while the clock is in doubt too.
func TestTimeGoesOnWhileTheClockIsInDoubt(t *testing.T) {
	c := newClocks(t)
	c.run(2 * Proof)
	before := c.wall
	c.jump(30 * oneDay)
	c.look()
	c.run(5 * time.Hour)
	if h := c.look(); !h.Held() || !h.By.Equal(before.Add(5*time.Hour)) {
		t.Errorf("days due by %v may be destroyed, want %v", h.By, before.Add(5*time.Hour))
	}
	c.off(time.Minute, true)
	c.run(time.Hour)
	if h := c.look(); !h.Held() || !h.By.Equal(before.Add(6*time.Hour)) {
		t.Errorf("after a restart: days due by %v may be destroyed, want %v", h.By, before.Add(6*time.Hour))
	}
}

// A program killed at any time knows again the time of its last look, whatever it was killed in the midst of.
func TestAGuardSurvivesAFaultOfTheDisk(t *testing.T) {
	played := errors.New("played fault")
	for _, step := range []string{"create", "write", "chmod", "sync", "rename", "sync folder"} {
		for _, persisted := range []bool{false, true} {
			c := newClocks(t)
			c.run(2 * Proof)
			armed := true
			c.disk = durable.Disk{Step: func(name string, do func() error) error {
				if !armed || name != step {
					return do()
				}
				armed = false
				if persisted {
					if err := do(); err != nil {
						return err
					}
				}
				return played
			}}
			if err := c.Close(); !errors.Is(err, played) {
				t.Fatalf("%s: %v", step, err)
			}
			c.open()
			if h := c.look(); h.Held() {
				t.Errorf("%s, persisted %v: a clock that never jumped is in doubt", step, persisted)
			}
			c.jump(30 * oneDay)
			if h := c.look(); !h.Held() || c.wall.Sub(h.By) > 31*oneDay {
				t.Errorf("%s, persisted %v: after a jump, days due by %v may be destroyed", step, persisted, h.By)
			}
		}
	}
}

func TestTheRunningTimeIsTheMonotonicClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var set time.Duration // how far the wall clock was set
		now := func() time.Time { return time.Now().Add(set) }
		g, err := Open(filepath.Join(t.TempDir(), "clock"), now, func() func() time.Duration {
			begun := time.Now()
			return func() time.Duration { return time.Since(begun) }
		}(), durable.Disk{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(Proof)
		if h, err := g.Look(); err != nil || h.Held() {
			t.Errorf("after a day: %+v, %v", h, err)
		}
		set = 30 * oneDay
		if h, err := g.Look(); err != nil || !h.Held() {
			t.Errorf("after a jump: %+v, %v", h, err)
		}
	})
}

func TestOnlyDaysDueByTheHorizonAreDestroyed(t *testing.T) {
	at := someDay.DestroyAt()
	for _, c := range []struct {
		rule      string
		h         Horizon
		due, held []day.Day
	}{
		{"a clock that is believed", Horizon{Now: at, By: at}, []day.Day{someDay - 1, someDay}, nil},
		{"a moment before", Horizon{Now: at.Add(-1), By: at.Add(-1)}, []day.Day{someDay - 1}, nil},
		{"a clock in doubt", Horizon{Now: at, By: at.Add(-1), Left: Proof}, []day.Day{someDay - 1}, []day.Day{someDay}},
		{"nothing is known", Horizon{Now: at, Left: Proof}, nil, []day.Day{someDay - 1, someDay}},
	} {
		due, held := c.h.Split([]day.Day{someDay + 1, someDay, someDay - 1, someDay})
		if !slices.Equal(due, c.due) || !slices.Equal(held, c.held) {
			t.Errorf("%s: due %v, held back %v; want %v, %v", c.rule, due, held, c.due, c.held)
		}
		if err := c.h.HeldBack(held); errors.Is(err, ErrHeldBack) != (len(c.held) > 0) || err != nil && len(c.held) == 0 {
			t.Errorf("%s: %v", c.rule, err)
		}
	}
}
