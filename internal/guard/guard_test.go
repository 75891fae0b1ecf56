package guard

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/testkit"
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
	ntp  bool   // an NTP daemon vouches for the wall clock
	boot string // name of the machine's run
	*Clock
}

func newClocks(t *testing.T) *clocks {
	c := &clocks{t: t, path: filepath.Join(t.TempDir(), "clock"), wall: time.Date(2020, 7, 1, 12, 0, 0, 0, day.Seoul())}
	c.open()
	return c
}

func (c *clocks) open() {
	if c.boot == "" {
		c.ran = 0
	}
	c.Clock = Open(c.path, Options{
		Now: func() time.Time { return c.wall }, Elapsed: func() time.Duration { return c.ran },
		Synced: func() bool { return c.ntp }, Boot: c.boot,
	})
}

// run lets both clocks go on, looking every hour, or less often if it takes long.
func (c *clocks) run(d time.Duration) {
	for step := max(time.Hour, d/48); d > 0; d -= step {
		c.wall, c.ran = c.wall.Add(min(d, step)), c.ran+min(d, step)
		c.look()
	}
}

// Sources that somebody makes up are as few as there may be, take nothing from those heard before, and are forgotten.
func TestSourcesThatAreMadeUpAreFew(t *testing.T) {
	c := newClocks(t)
	c.Hear("naver", "cafe/door", c.wall)
	for i := range 10 * maxSources {
		c.Hear(fmt.Sprint("made up ", i), "cafe/door", c.wall)
	}
	if n := len(c.hearing.words); n != maxSources || c.hearing.words["naver"] == nil {
		t.Errorf("%d sources are remembered, want %d", n, maxSources)
	}
	c.run(remembered + time.Hour)
	c.Hear("kakao", "club/door", c.wall)
	if n := len(c.hearing.words); n != 1 || c.hearing.words["kakao"] == nil {
		t.Errorf("%d sources are remembered when all but one are over", n)
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

func (c *clocks) look() Horizon { return c.Look() }

func (c *clocks) confirm() {
	c.t.Helper()
	testkit.Check(c.t, c.Confirm())
}

// hear has codes of two issuers arrive that two gates read at.
func (c *clocks) hear(at time.Time) {
	c.Hear("naver", "cafe/door", at)
	c.Hear("kakao", "club/door", at)
}

// visited lets both clocks go on while visits of the real time, which is off the wall clock's, come every hour.
func (c *clocks) visited(d, off time.Duration) {
	for step := max(time.Hour, d/24); d > 0; d -= step {
		c.run(min(d, step))
		c.hear(c.wall.Add(off))
	}
}

func TestAClockIsBelievedOrDoubted(t *testing.T) {
	for _, test := range []struct {
		rule  string
		play  func(*clocks)
		doubt string
		left  time.Duration
	}{
		{"a clock that runs is believed", func(c *clocks) { c.run(40 * oneDay) }, "", 0},
		{"a step within an hour is believed", func(c *clocks) { c.jump(slack) }, "", 0},
		{"a jump beyond it is held back for a day", func(c *clocks) { c.jump(slack + time.Second) }, Ahead, Proof},
		{"three days but an hour ahead", func(c *clocks) { c.jump(71 * time.Hour) }, Ahead, Proof},
		{"and again", func(c *clocks) { c.jump(71 * time.Hour); c.look(); c.jump(71 * time.Hour) }, Ahead, Proof},
		{"small steps add up", func(c *clocks) {
			for range 4 {
				c.jump(slack / 2)
				c.look()
			}
		}, Ahead, Proof},
		{"a month ahead", func(c *clocks) { c.jump(30 * oneDay) }, Ahead, Proof},
		{"a century ahead", func(c *clocks) { c.jump(36525 * oneDay) }, Ahead, Proof},
		{"a jump is still held back just before it has proven itself", func(c *clocks) {
			c.jump(30 * oneDay)
			c.look()
			c.run(Proof - time.Hour)
		}, Ahead, time.Hour},
		{"a jump is believed once it has", func(c *clocks) { c.jump(30 * oneDay); c.look(); c.run(Proof) }, "", 0},
		{"a second jump has a proof of its own", func(c *clocks) {
			c.jump(30 * oneDay)
			c.look()
			c.run(Proof - time.Hour)
			c.jump(30 * oneDay)
			c.look()
			c.run(2 * time.Hour)
		}, Ahead, Proof - 2*time.Hour},
		{"put right and wrong again begins the proof again", func(c *clocks) {
			c.jump(30 * oneDay)
			c.look()
			c.run(Proof - 2*time.Hour)
			c.jump(-30 * oneDay)
			c.run(time.Hour)
			c.jump(30 * oneDay)
			c.look()
			c.run(time.Hour)
		}, Ahead, Proof - time.Hour},
		{"a jump that is put right is forgotten", func(c *clocks) { c.jump(30 * oneDay); c.run(time.Hour); c.jump(-30 * oneDay) }, "", 0},
		{"a kernel that is synchronised does not vouch for a jump", func(c *clocks) { c.ntp = true; c.look(); c.jump(30 * time.Hour) }, Ahead, Proof},
		{"codes of two issuers do", func(c *clocks) { c.jump(30 * oneDay); c.hear(c.wall.Add(-time.Minute)) }, "", 0},
		{"codes of two issuers through one gate do not", func(c *clocks) {
			c.jump(30 * oneDay)
			c.Hear("naver", "cafe/door", c.wall)
			c.Hear("kakao", "cafe/door", c.wall)
		}, Ahead, Proof},
		{"codes of one issuer do not", func(c *clocks) {
			c.jump(30 * oneDay)
			c.Hear("naver", "cafe/door", c.wall)
			c.Hear("naver", "club/door", c.wall)
		}, Ahead, Proof},
		{"codes of two issuers that are as far ahead move nothing by themselves", func(c *clocks) { c.hear(c.wall.Add(30 * oneDay)) }, "", 0},
		{"running proves nothing that visits contradict", func(c *clocks) {
			c.jump(30 * oneDay)
			c.look()
			c.visited(3*Proof, -30*oneDay)
		}, Ahead, Proof},
		{"visits of before, which come late, contradict nothing", func(c *clocks) {
			c.hear(c.wall)
			c.off(30*oneDay, true)
			c.hear(c.wall.Add(-29 * oneDay))
			c.run(Proof + time.Hour)
		}, Ahead, Proof - time.Hour},
		{"set back", func(c *clocks) { c.jump(-30 * oneDay) }, Behind, 0},
		{"time alone does not prove a clock that was set back", func(c *clocks) { c.jump(-30 * oneDay); c.run(90 * oneDay) }, Behind, 0},
		{"set back and forth", func(c *clocks) { c.jump(-30 * oneDay); c.run(time.Hour); c.jump(30 * oneDay) }, "", 0},
		{"a kernel synchronised for a day sets the known time back", func(c *clocks) {
			c.jump(-30 * oneDay)
			c.ntp = true
			c.look()
			c.run(Proof)
		}, "", 0},
		{"not when visits contradict it", func(c *clocks) {
			c.jump(-30 * oneDay)
			c.ntp = true
			c.look()
			c.visited(2*Proof, 30*oneDay)
		}, Behind, 0},
		{"an operator's word", func(c *clocks) { c.jump(30 * oneDay); c.look(); c.confirm() }, "", 0},
		{"an operator's word that it is earlier", func(c *clocks) { c.jump(-30 * oneDay); c.look(); c.confirm() }, "", 0},
		{"an operator's word holds after a restart, and not for another jump", func(c *clocks) {
			c.jump(30 * oneDay)
			c.confirm()
			c.off(time.Minute, false)
			c.jump(30 * oneDay)
		}, Ahead, Proof},
		{"off for a while", func(c *clocks) { c.off(time.Hour, true) }, "", 0},
		{"off for a weekend", func(c *clocks) { c.off(60*time.Hour, true) }, Ahead, Proof},
		{"off for a weekend, with a synchronised kernel afterwards", func(c *clocks) { c.off(60*time.Hour, true); c.look(); c.ntp = true }, "", 0},
		{"a kernel vouches for so much only", func(c *clocks) { c.ntp = true; c.off(Reach+time.Hour, true) }, Ahead, Proof},
		{"nor for two times of three days in a row", func(c *clocks) {
			c.ntp = true
			c.off(71*time.Hour, true)
			c.off(71*time.Hour, true)
		}, Ahead, Proof},
		{"a kernel vouches once", func(c *clocks) { c.ntp = true; c.off(time.Minute, true); c.jump(30 * time.Hour) }, Ahead, Proof},
		{"while the machine ran on, its running time tells how long the program was off", func(c *clocks) {
			c.boot = "a"
			c.off(0, true)
			c.ran += 50 * oneDay
			c.off(50*oneDay, true)
		}, "", 0},
		{"and a jump meanwhile, which no kernel vouches for", func(c *clocks) {
			c.boot, c.ntp = "a", true
			c.off(0, true)
			c.ran += time.Hour
			c.off(50*time.Hour, true)
		}, Ahead, Proof},
		{"off for a week, then on for a day", func(c *clocks) { c.off(7*oneDay, true); c.run(Proof) }, "", 0},
		{"a proof goes on over a restart", func(c *clocks) {
			c.jump(30 * oneDay)
			c.look()
			c.run(Proof / 2)
			c.off(time.Hour, true)
			c.run(Proof / 2)
		}, "", 0},
		{"a jump at a restart", func(c *clocks) { c.off(time.Minute, true); c.jump(30 * oneDay) }, Ahead, Proof},
		{"the file is lost", func(c *clocks) {
			testkit.Check(c.t, os.Remove(c.path))
			c.off(time.Minute, false)
		}, Ahead, Proof},
		{"the file is damaged", func(c *clocks) {
			testkit.Check(c.t, os.WriteFile(c.path, []byte(`{"version":2,"known":{"at":"2020`), 0o600))
			c.off(time.Minute, false)
		}, Ahead, Proof},
		{"the file cannot be read", func(c *clocks) {
			testkit.Check(c.t, os.Remove(c.path))
			testkit.Check(c.t, os.Mkdir(c.path, 0o700))
			c.off(time.Minute, false)
		}, Ahead, Proof},
		{"the file is lost, a day later", func(c *clocks) {
			testkit.Check(c.t, os.Remove(c.path))
			c.off(time.Minute, false)
			c.run(Proof)
		}, "", 0},
	} {
		t.Run(test.rule, func(t *testing.T) {
			c := newClocks(t)
			if h := c.look(); !h.Held() || !h.By.IsZero() {
				t.Fatalf("a new guard knows %+v", h)
			}
			c.run(2 * Proof)
			test.play(c)
			h := c.look()
			if h.Doubt != test.doubt || h.Left != test.left || !h.Now.Equal(c.wall) {
				t.Errorf("in doubt %q, %v left; want %q, %v (%+v)", h.Doubt, h.Left, test.doubt, test.left, h)
			}
			if !h.Held() && !h.By.Equal(c.wall) {
				t.Errorf("believes %v at %v", h.By, c.wall)
			}
		})
	}
}

// TestAHostThatRunsFiveHoursADayDestroysInTime: what is known stays at most a day of running behind, and a day's worth of
// nights off does not begin the proof anew. With a synchronised kernel, or with visits, it is known at once.
func TestAHostThatRunsFiveHoursADayDestroysInTime(t *testing.T) {
	for _, test := range []struct {
		rule  string
		begin func(*clocks)
		late  time.Duration
	}{
		{"alone", func(*clocks) {}, 5*oneDay + slack},
		{"killed", func(*clocks) {}, 5*oneDay + slack},
		{"with a synchronised kernel", func(c *clocks) { c.ntp = true; c.look() }, slack},
		{"with visits", func(c *clocks) { c.hear(c.wall.Add(-time.Minute)) }, slack},
	} {
		t.Run(test.rule, func(t *testing.T) {
			c := newClocks(t)
			c.run(Proof)
			for range 40 {
				c.off(19*time.Hour, test.rule != "killed")
				test.begin(c)
				c.run(5 * time.Hour)
				if h := c.look(); h.By.After(c.wall) || c.wall.Sub(h.By) > test.late {
					t.Fatalf("at %v days due by %v are destroyed", c.wall, h.By)
				}
			}
		})
	}
}

// TestAClockSetBackDoesNotKeepDaysForWeeks: what was known and what visits say are two against one.
func TestAClockSetBackDoesNotKeepDaysForWeeks(t *testing.T) {
	c := newClocks(t)
	c.run(2 * Proof)
	right := c.wall
	c.jump(-60 * oneDay)
	if h := c.look(); !h.By.Equal(c.wall) || !h.Latest().Equal(right) {
		t.Errorf("by its own word, days due by %v are destroyed and the latest is %v", h.By, h.Latest())
	}
	if due, held := c.look().Split([]day.Day{day.Of(right) - 40}); len(due) != 0 || len(held) != 1 {
		t.Errorf("due %v, held back %v: it is not told", due, held)
	}
	for range 10 {
		c.visited(3*oneDay, 60*oneDay)
		if h, want := c.look(), c.wall.Add(60*oneDay); h.Doubt != Behind || h.By.Sub(want).Abs() > slack {
			t.Fatalf("days due by %v are destroyed at %v", h.By, want)
		}
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
			c.opts.Disk = durable.Disk{Step: func(name string, do func() error) error {
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
		begun := time.Now()
		g := Open(filepath.Join(t.TempDir(), "clock"), Options{Now: now, Elapsed: func() time.Duration { return time.Since(begun) }})
		time.Sleep(Proof)
		if h := g.Look(); h.Held() {
			t.Errorf("after a day: %+v", h)
		}
		set = 30 * oneDay
		if h := g.Look(); !h.Held() {
			t.Errorf("after a jump: %+v", h)
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
		{"a clock in doubt", Horizon{Now: at, Known: at.Add(-1), By: at.Add(-1), Doubt: Ahead, Left: Proof}, []day.Day{someDay - 1}, []day.Day{someDay}},
		{"a clock set back", Horizon{Now: at.Add(-2 * oneDay), Known: at, By: at.Add(-2 * oneDay), Doubt: Behind}, nil, []day.Day{someDay - 1, someDay}},
		{"a clock set back, with others against it", Horizon{Now: at.Add(-oneDay), Known: at, By: at, Doubt: Behind}, []day.Day{someDay - 1, someDay}, nil},
		{"nothing is known", Horizon{Now: at, Doubt: Ahead, Left: Proof}, nil, []day.Day{someDay - 1, someDay}},
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

func TestTheOldestDayKept(t *testing.T) {
	at := someDay.DestroyAt()
	if _, ok := (Horizon{Now: at}).Oldest(nil); ok {
		t.Error("nothing has an oldest day")
	}
	for _, c := range []struct {
		rule    string
		h       Horizon
		overdue time.Duration
	}{
		{"in time", Horizon{Now: at.Add(-1)}, 0},
		{"by the wall clock", Horizon{Now: at.Add(time.Hour), Known: at}, time.Hour},
		{"by what is known", Horizon{Now: at.Add(-oneDay), Known: at.Add(time.Minute)}, time.Minute},
	} {
		if k, ok := c.h.Oldest([]day.Day{someDay + 3, someDay, someDay + 1}); !ok || k != (Kept{Day: someDay, Overdue: c.overdue}) {
			t.Errorf("%s: %+v, want %v overdue", c.rule, k, c.overdue)
		}
	}
}

func TestTheTimesThatItMayBe(t *testing.T) {
	now := time.Date(2020, 7, 1, 3, 0, 0, 0, time.UTC)
	for rule, c := range map[string]struct{ known, earliest, latest time.Time }{
		"nothing is known":              {time.Time{}, now, now},
		"the wall clock is ahead":       {now.AddDate(-1, 0, 0), now.AddDate(-1, 0, 0), now},
		"the wall clock is behind":      {now.AddDate(1, 0, 0), now, now.AddDate(1, 0, 0)},
		"it is as everything else says": {now, now, now},
	} {
		h := Horizon{Now: now, Known: c.known}
		if h.Earliest() != c.earliest || h.Latest() != c.latest {
			t.Errorf("%s: from %v to %v, want %v to %v", rule, h.Earliest(), h.Latest(), c.earliest, c.latest)
		}
	}
}
