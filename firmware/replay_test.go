package firmware

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/firmware/replay"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
)

// pulses counts the cues that open the gate.
func pulses(device *drivertest.Indicator) (n int) {
	for _, c := range device.Cues() {
		if c.Relay {
			n++
		}
	}
	return n
}

// One screenshot for six friends: one person goes in.
func TestAScreenshotForSixFriends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t)
		shot := s.code(s.key, 0)
		for range 6 {
			s.front.Script = append(s.front.Script, drivertest.Step{Wait: 2600 * time.Millisecond, Data: shot})
		}
		s.play(20 * time.Second)
		s.wantLights(s.light, drivers.Green, drivers.Green, drivers.Amber, drivers.Amber, drivers.Amber, drivers.Amber)
		s.wantTotal(map[visit.Outcome]uint64{visit.Admitted: 1, visit.AdmittedAgain: 1, visit.CodeUsed: 4})
		if n := pulses(s.light); n != 1 {
			t.Errorf("the gate opened %d times", n)
		}
		if n := len(s.journal.kept()); n != 1 {
			t.Errorf("%d records, want 1", n)
		}
	})
}

func TestACodeShownAgain(t *testing.T) {
	for _, c := range []struct {
		rule  string
		after time.Duration
		side  bool // at the other lane
		want  drivers.Light
	}{
		{"at its lane within five seconds: who did not see the green", 5 * time.Second, false, drivers.Green},
		{"at its lane later: somebody else", 5*time.Second + time.Millisecond, false, drivers.Amber},
		{"at another lane: somebody else", 10 * time.Millisecond, true, drivers.Amber},
	} {
		t.Run(c.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFixture(t)
				code := s.code(s.key, 0)
				again := s.front
				s.front.Script = []drivertest.Step{{Wait: time.Second, Data: code}}
				if c.side {
					again, c.after = s.side, c.after+time.Second
				}
				again.Script = append(again.Script, drivertest.Step{Wait: c.after, Data: code})
				s.play(10 * time.Second)
				s.wantLights(s.light, drivers.Green, c.want)
				if n := pulses(s.light); n != 1 {
					t.Errorf("the gate opened %d times", n)
				}
			})
		})
	}
}

// A visit whose append was told to have failed, though it was kept, opens the gate for nobody until it is shown again.
func TestTheGateOpensOnceWhateverTheJournalDid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t)
		s.journal.set(errors.New("input/output error"), true, 0)
		code := s.code(s.key, 0)
		for range 3 {
			s.front.Script = append(s.front.Script, drivertest.Step{Wait: 3 * time.Second, Data: code})
		}
		go func() {
			time.Sleep(4 * time.Second)
			s.journal.set(nil, false, 0)
		}()
		s.play(12 * time.Second)
		s.wantLights(s.light, drivers.Red, drivers.Green, drivers.Green)
		if n := pulses(s.light); n != 1 {
			t.Errorf("the gate opened %d times", n)
		}
	})
}

// remember gives the gate a set of admitted codes that lies in dir, and is not closed: as a kill leaves it.
func (s *fixture) remember(dir string) {
	s.t.Helper()
	set, err := replay.Open(replay.Options{Dir: dir, Name: "cafe-door"})
	testkit.Check(s.t, err)
	s.gate.replays = set
}

// A gate that was killed knows the codes of before, if it has a folder in memory.
func TestACodeIsUsedAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, dir := newFixture(t), testkit.MemoryDir(t)
		code := first.code(first.key, 0)
		for i, want := range []drivers.Light{drivers.Green, drivers.Amber} {
			s := newFixture(t)
			s.remember(dir)
			s.gate.opts.Trust = first.gate.opts.Trust
			s.front.Script = []drivertest.Step{{Wait: time.Second, Data: code}}
			s.play(2 * time.Second)
			s.wantLights(s.light, want)
			if n := pulses(s.light); n != 1-i {
				t.Errorf("run %d: the gate opened %d times", i, n)
			}
		}
	})
}
