package firmware

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/firmware/clock"
	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/firmware/journal"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
)

// fixture is a gate with fake devices, a journal in memory and two keys: the issuer's and one nobody knows.
type fixture struct {
	t          *testing.T
	key        ed25519.PrivateKey
	strange    ed25519.PrivateKey
	journal    *memory
	clock      *fixedClock
	front      *drivertest.Reader
	side       *drivertest.Reader
	light      *drivertest.Indicator // of all lanes
	sideLight  *drivertest.Indicator // of the side lane
	frontLight *drivertest.Indicator // of the front lane
	board      *health.Board
	log        *testkit.Buffer
	display    *display
	gate       *Gate
	cti        uint16
}

func newFixture(t *testing.T) *fixture {
	pub, key, err := ed25519.GenerateKey(nil)
	testkit.Check(t, err)
	_, strange, err := ed25519.GenerateKey(nil)
	testkit.Check(t, err)
	s := &fixture{
		t: t, key: key, strange: strange, journal: &memory{}, clock: &fixedClock{state: visit.ClockSynced},
		front: &drivertest.Reader{Name: "front"}, side: &drivertest.Reader{Name: "side"},
		light: &drivertest.Indicator{Name: "light"}, sideLight: &drivertest.Indicator{Name: "side light"},
		frontLight: &drivertest.Indicator{Name: "front light"},
		display:    &display{},
	}
	log, buffer := testkit.NewLogger()
	s.log = buffer
	s.board = health.NewBoard(time.Now, log)
	s.gate = New(Options{
		Readers:    []drivers.Reader{s.front, s.side},
		Indicators: []Lane{{Indicator: s.light}, {Indicator: s.sideLight, Reader: "side"}, {Indicator: s.frontLight, Reader: "front"}},
		Display:    s.display,
		Trust:      oneKey{pub}, Clock: s.clock, Languages: []string{"ko"}, Board: s.board, Logger: log,
	})
	s.gate.Use(s.journal)
	return s
}

// code returns a new code issued age ago.
func (s *fixture) code(key ed25519.PrivateKey, age time.Duration) []byte {
	s.t.Helper()
	s.cti++
	text, err := token.Sign(key, "naver", time.Now().Add(-age), token.CTI{byte(s.cti), 0xAB, 0xCD, 0xEF, byte(s.cti >> 8)})
	testkit.Check(s.t, err)
	return []byte(text)
}

// play runs the gate for as long as given and then ends it.
func (s *fixture) play(d time.Duration) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), d)
	defer cancel()
	if err := s.gate.Run(ctx); err != nil {
		s.t.Errorf("Run: %v", err)
	}
	for _, r := range []*drivertest.Reader{s.front, s.side} {
		if r.Left() != 0 {
			s.t.Errorf("%v: %d steps of the script were not played", r, r.Left())
		}
	}
}

func (s *fixture) wantLights(device *drivertest.Indicator, want ...drivers.Light) {
	s.t.Helper()
	var got []drivers.Light
	for _, c := range device.Cues() {
		got = append(got, c.Light)
	}
	if len(got) != len(want) {
		s.t.Errorf("%v showed %v, want %v", device, got, want)
		return
	}
	for i := range want {
		if got[i] != want[i] {
			s.t.Errorf("%v showed %v, want %v", device, got, want)
			return
		}
	}
}

func (s *fixture) wantTotal(want map[visit.Outcome]uint64) {
	s.t.Helper()
	got := s.display.totals()
	for _, o := range visit.Outcomes() {
		if got[o] != want[o] {
			s.t.Errorf("%d × %v, want %d", got[o], o, want[o])
		}
	}
}

// display counts the outcomes it was shown.
type display struct {
	mu    sync.Mutex
	shown map[visit.Outcome]uint64
}

func (d *display) Show(o visit.Outcome, lane string, hold time.Duration, by time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shown == nil {
		d.shown = map[visit.Outcome]uint64{}
	}
	d.shown[o]++
}

func (d *display) totals() map[visit.Outcome]uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.shown)
}

// memory is a journal that keeps visits in memory and can fail in two ways.
type memory struct {
	mu     sync.Mutex
	visits []visit.Visit
	fail   error
	keep   bool          // with fail: the visit is kept all the same
	slow   time.Duration // passes before each append
}

func (m *memory) Append(ctx context.Context, v visit.Visit) (uint64, error) {
	m.mu.Lock()
	slow := m.slow
	m.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail == nil || m.keep {
		m.visits = append(m.visits, v)
	}
	if m.fail != nil {
		return 0, m.fail
	}
	return uint64(len(m.visits)), nil
}

func (m *memory) set(fail error, keep bool, slow time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail, m.keep, m.slow = fail, keep, slow
}

func (m *memory) kept() []visit.Visit {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]visit.Visit(nil), m.visits...)
}

// fixedClock is as right as the test's clock, but for what it was turned by, and says what it is told about it.
type fixedClock struct {
	mu    sync.Mutex
	state visit.ClockState
	off   time.Duration
	floor time.Time
}

func (c *fixedClock) Read() clock.Reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	return clock.Reading{Now: time.Now().Add(c.off), State: c.state, Skew: 2 * time.Second, Floor: c.floor}
}

func (c *fixedClock) Evidence(_ string, iat time.Time, _ time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if iat.After(c.floor) {
		c.floor = iat
	}
}

func (c *fixedClock) MayBeFresh(_ string, iat time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.floor.After(iat.Add(token.Lifetime))
}

func (c *fixedClock) set(s visit.ClockState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = s
}

func (c *fixedClock) turn(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off = by
}

func steps(frames ...[]byte) []drivertest.Step {
	script := make([]drivertest.Step, len(frames))
	for i, f := range frames {
		script[i] = drivertest.Step{Wait: 100 * time.Millisecond, Data: f}
	}
	return script
}

func TestGateWayOfAScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t)
		forged, err := token.Sign(s.key, "pass", time.Now(), token.CTI{99}) // naver's key speaking for another issuer
		testkit.Check(t, err)
		good := s.code(s.key, time.Second)
		s.front.Script = steps(good, s.code(s.key, 18*time.Second), s.code(s.key, -3*time.Second), s.code(s.strange, 0), []byte(forged), []byte("8801234567890"), s.code(s.key, 0))
		s.play(5 * time.Second)
		s.wantTotal(map[visit.Outcome]uint64{visit.Admitted: 2, visit.Expired: 1, visit.NotYetValid: 1, visit.UnknownIssuer: 1, visit.NotGenuine: 1, visit.NotACode: 1})
		s.wantLights(s.light, drivers.Green, drivers.Amber, drivers.Amber, drivers.Red, drivers.Red, drivers.Amber, drivers.Green)
		s.wantLights(s.sideLight)
		kept := s.journal.kept()
		if len(kept) != 2 || kept[0].Issuer != "naver" || kept[0].CTI == (visit.CTI{}) || kept[0].Clock != visit.ClockSynced || kept[0].Skew != 2*time.Second || kept[0].StaleTrust {
			t.Errorf("journal holds %+v", kept)
		}
		if !s.light.Halted() || !s.sideLight.Halted() {
			t.Error("indicators were not halted at the end")
		}
	})
}

func TestGateTakesAHeldCodeForOnePresentation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t)
		held := s.code(s.key, 0)
		for range 30 { // three seconds in front of the reader
			s.front.Script = append(s.front.Script, drivertest.Step{Wait: 100 * time.Millisecond, Data: held})
		}
		s.front.Script = append(s.front.Script, drivertest.Step{Wait: presentationGap, Data: held})
		s.play(10 * time.Second)
		s.wantTotal(map[visit.Outcome]uint64{visit.Admitted: 1, visit.CodeUsed: 1})
		if n := len(s.journal.kept()); n != 1 {
			t.Errorf("%d records, want 1", n)
		}
	})
}

func TestGateNeverGreenWithoutARecord(t *testing.T) {
	for rule, c := range map[string]struct {
		fail    error
		keep    bool
		slow    time.Duration
		records int // after the retry that succeeds
	}{
		"the append failed":                            {errors.New("input/output error"), false, 0, 1},
		"the append failed but persisted":              {errors.New("input/output error"), true, 0, 2},
		"the disk is slower than a visitor would wait": {nil, false, time.Minute, 1},
	} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFixture(t)
				s.journal.set(c.fail, c.keep, c.slow)
				code := s.code(s.key, 0)
				s.front.Script = []drivertest.Step{{Wait: time.Second, Data: code}, {Wait: 5 * time.Second, Data: code}}
				go func() {
					time.Sleep(4 * time.Second)
					s.wantTotal(map[visit.Outcome]uint64{visit.OutOfService: 1})
					if faults := s.board.Shown(); len(faults) != 1 || faults[0].Code != health.JournalFailed {
						t.Errorf("faults %+v, want journal-failed", faults)
					}
					s.journal.set(nil, false, 0)
				}()
				s.play(10 * time.Second)
				s.wantLights(s.light, drivers.Red, drivers.Green)
				s.wantTotal(map[visit.Outcome]uint64{visit.OutOfService: 1, visit.Admitted: 1})
				if n := len(s.journal.kept()); n != c.records {
					t.Errorf("%d records, want %d", n, c.records)
				}
				if faults := s.board.Shown(); len(faults) != 0 {
					t.Errorf("faults stay: %+v", faults)
				}
			})
		})
	}
}

func TestGateOneCodeAtTwoReadersAtOnce(t *testing.T) {
	for rule, c := range map[string]struct {
		failFirst bool
		want      map[visit.Outcome]uint64
	}{
		"is one visit": {false, map[visit.Outcome]uint64{visit.Admitted: 1, visit.CodeUsed: 1}},
		"is tried by the second if the first's failed": {true, map[visit.Outcome]uint64{visit.OutOfService: 1, visit.Admitted: 1}},
	} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFixture(t)
				code := s.code(s.key, 0)
				s.journal.set(nil, false, time.Second)
				if c.failFirst {
					s.journal.set(errors.New("input/output error"), false, time.Second)
					go func() {
						time.Sleep(2500 * time.Millisecond) // the first append began at 1 s and fails at 2 s
						s.journal.set(nil, false, 0)
					}()
				}
				s.front.Script = []drivertest.Step{{Wait: time.Second, Data: code}}
				s.side.Script = []drivertest.Step{{Wait: 1500 * time.Millisecond, Data: code}}
				s.play(6 * time.Second)
				s.wantTotal(c.want)
				if n := len(s.journal.kept()); n != 1 {
					t.Errorf("%d records, want 1", n)
				}
			})
		})
	}
}

func TestGateHangingIndicatorStallsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t)
		s.light.Hang(true)
		for range 5 {
			s.side.Script = append(s.side.Script, drivertest.Step{Wait: 100 * time.Millisecond, Data: s.code(s.key, 0)})
		}
		go func() {
			time.Sleep(700 * time.Millisecond)
			s.wantTotal(map[visit.Outcome]uint64{visit.Admitted: 5})
			s.wantLights(s.sideLight, drivers.Green, drivers.Green, drivers.Green, drivers.Green, drivers.Green)
			s.light.Hang(false)
		}()
		s.play(5 * time.Second)
		cues := s.light.Cues()
		if len(cues) != 1 {
			t.Errorf("the healed light showed %d cues, want the newest only", len(cues))
		}
	})
}

func TestGateReportsDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t)
		s.front.Script = []drivertest.Step{{Wait: time.Second, Err: drivers.ErrLost}}
		s.light.Fail(errors.New("no such lamp"))
		s.side.SetCheck(drivers.ErrGarbled)
		seen := map[health.Code]bool{}
		go func() {
			for range 50 {
				time.Sleep(100 * time.Millisecond)
				for _, f := range s.board.Shown() {
					seen[f.Code] = true
				}
			}
			s.light.Fail(nil)
			s.side.SetCheck(nil)
		}()
		s.play(8 * time.Second)
		if !seen[health.IndicatorFailed] || !seen[health.ReaderGarbled] {
			t.Errorf("faults seen: %v", seen)
		}
		if faults := s.board.Shown(); len(faults) != 0 {
			t.Errorf("faults stay: %+v", faults)
		}
		if !strings.Contains(s.log.String(), "code=reader-lost") {
			t.Error("the lost reader was not reported")
		}
	})
}

func TestGateOutOfService(t *testing.T) {
	for rule, change := range map[string]func(s *fixture){
		"before it is enrolled":      func(s *fixture) { s.gate.Use(nil) },
		"while it is revoked":        func(s *fixture) { s.gate.Revoke(true) },
		"while its clock is refused": func(s *fixture) { s.gate.opts.RefuseUntrusted = true; s.clock.set(visit.ClockUntrusted) },
	} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFixture(t)
				change(s)
				s.front.Script = []drivertest.Step{{Wait: time.Second, Data: s.code(s.key, 0)}, {Wait: time.Second, Data: []byte("garbage")}}
				go func() {
					time.Sleep(1900 * time.Millisecond)
					if s.front.Active() {
						t.Error("the reader still invites visitors")
					}
				}()
				s.play(3 * time.Second)
				s.wantTotal(map[visit.Outcome]uint64{visit.OutOfService: 2})
				if n := len(s.journal.kept()); n != 0 {
					t.Errorf("%d records, want none", n)
				}
			})
		})
	}
}

// Under a clock that is not trusted, what the issuer signed is all that is known of the time of a visit: the wrong clock's
// word does not get into the record, however wrong it is.
func TestTheTimeOfAVisitUnderAnUntrustedClockIsTheCodes(t *testing.T) {
	for rule, off := range map[string]time.Duration{
		"right by chance": 0, "booted without a clock": -30 * 365 * 24 * time.Hour, "nine hours ahead": 9 * time.Hour,
	} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFixture(t)
				s.clock.set(visit.ClockUntrusted)
				s.clock.turn(off)
				issued := time.Now().Truncate(time.Second)
				s.front.Script = steps(s.code(s.key, 0), s.code(s.key, time.Minute))
				s.play(time.Second)
				s.wantTotal(map[visit.Outcome]uint64{visit.Admitted: 1, visit.Expired: 1})
				kept := s.journal.kept()
				if len(kept) != 1 || kept[0].Clock != visit.ClockUntrusted || !kept[0].At.Equal(issued) {
					t.Errorf("journal holds %+v, want one visit of %v", kept, issued)
				}
			})
		})
	}
}

func TestGateLogsNothingThatWasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t)
		good, again := s.code(s.key, 0), []byte("KIP1:THIS IS NOT A CODE")
		s.front.Script = steps(good, again, []byte("https://example.com/secret-of-mine"))
		s.play(time.Second)
		log := s.log.String()
		if !strings.Contains(log, "outcome=admitted") {
			t.Fatal("nothing was logged at all")
		}
		cti := []byte{1, 0xAB, 0xCD, 0xEF}
		for _, secret := range []string{string(good[5:25]), "THIS IS NOT", "secret-of-mine", hex.EncodeToString(cti), strings.ToUpper(hex.EncodeToString(cti)), base64.StdEncoding.EncodeToString(cti)[:5], "171 205 239"} {
			if strings.Contains(log, secret) {
				t.Errorf("the log holds %q", secret)
			}
		}
	})
}

// soundJournal never has anything to say to a monitor.
type soundJournal struct{}

func (soundJournal) Stats() journal.Stats { return journal.Stats{} }
func (soundJournal) Probe() error         { return nil }

// Asking a gate whether it is in service tells of no fault: that is for the monitor, which looks at the clock itself.
func TestAskingChangesNoFault(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		s := newFixture(t)
		s.gate.opts.RefuseUntrusted = refuse
		s.clock.set(visit.ClockUntrusted)
		for range 3 {
			if in := s.gate.InService(); in == refuse {
				t.Errorf("refusing an untrusted clock %v: in service %v", refuse, in)
			}
			if in := s.gate.Serves(); in == refuse {
				t.Errorf("refusing an untrusted clock %v: serves %v", refuse, in)
			}
		}
		if shown := s.board.Shown(); len(shown) != 0 {
			t.Errorf("asking noted %+v", shown)
		}
		monitor := &health.Monitor{Board: s.board, Journal: soundJournal{}, Clock: s.clock, Trust: token.NewTrust(nil)}
		monitor.Look()
		if shown := s.board.Shown(); len(shown) != 1 || shown[0].Code != health.ClockUntrusted {
			t.Errorf("the monitor noted %+v", shown)
		}
		s.clock.set(visit.ClockSynced)
		s.gate.InService()
		if shown := s.board.Shown(); len(shown) != 1 {
			t.Errorf("asking took back the fault: %+v", shown)
		}
		monitor.Look()
		if shown := s.board.Shown(); len(shown) != 0 {
			t.Errorf("the monitor leaves %+v", shown)
		}
	}
}
