package gpio

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/gpio"

	"github.com/kipass/kipass/drivers"
)

const high, low = gpio.High, gpio.Low

func level(high bool) gpio.Level { return gpio.Level(high) }

var gateOpens = drivers.Cue{Light: drivers.Green, Relay: true, Hold: time.Second}

func relayOf(t *testing.T, opts RelayOptions) (*Relay, *fixture) {
	t.Helper()
	r := newFixture(t)
	relay, err := newRelay(opts, r.opener)
	if err != nil {
		t.Fatal(err)
	}
	wantEdges(t, r.taken(), edge{0, "Y", level(opts.Line.ActiveLow)})
	return relay, r
}

func TestRelayOnePulsePerCue(t *testing.T) {
	refused := drivers.Cue{Light: drivers.Red, Hold: time.Second}
	type at struct {
		after time.Duration
		cue   drivers.Cue
	}
	for _, c := range []struct {
		rule            string
		pulse, coolDown time.Duration
		cues            []at
		want            []edge
	}{
		{"the default pulse is half a second", 0, 0, []at{{0, gateOpens}}, []edge{{0, "Y", high}, {500 * ms, "Y", low}}},
		{"a cue that does not ask gets none", 0, 0, []at{{0, refused}}, nil},
		{"two cues, two pulses", 200 * ms, 0, []at{{0, gateOpens}, {time.Second, gateOpens}},
			[]edge{{0, "Y", high}, {200 * ms, "Y", low}, {1000 * ms, "Y", high}, {1200 * ms, "Y", low}}},
		{"a pulse is not cut by a refusal", 500 * ms, 0, []at{{0, gateOpens}, {100 * ms, refused}}, []edge{{0, "Y", high}, {500 * ms, "Y", low}}},
		{"a pulse is never made longer", 500 * ms, 300 * ms, []at{{0, gateOpens}, {400 * ms, gateOpens}},
			[]edge{{0, "Y", high}, {500 * ms, "Y", low}, {800 * ms, "Y", high}, {1300 * ms, "Y", low}}},
		{"what comes in the cool-down waits for its end", 500 * ms, 300 * ms, []at{{0, gateOpens}, {600 * ms, gateOpens}},
			[]edge{{0, "Y", high}, {500 * ms, "Y", low}, {800 * ms, "Y", high}, {1300 * ms, "Y", low}}},
		{"a refusal does not take back what waits", 500 * ms, 300 * ms, []at{{0, gateOpens}, {100 * ms, gateOpens}, {100 * ms, refused}},
			[]edge{{0, "Y", high}, {500 * ms, "Y", low}, {800 * ms, "Y", high}, {1300 * ms, "Y", low}}},
		{"of many one waits", 500 * ms, 0, []at{{0, gateOpens}, {1 * ms, gateOpens}, {1 * ms, gateOpens}, {1 * ms, gateOpens}},
			[]edge{{0, "Y", high}, {500 * ms, "Y", low}, {500 * ms, "Y", high}, {1000 * ms, "Y", low}}},
		{"10 s is the longest", MaxPulse, 0, []at{{0, gateOpens}}, []edge{{0, "Y", high}, {10000 * ms, "Y", low}}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				relay, r := relayOf(t, RelayOptions{Line: Line{Name: "Y"}, Pulse: c.pulse, CoolDown: c.coolDown})
				for _, one := range c.cues {
					time.Sleep(one.after)
					show(t, relay, one.cue)
				}
				time.Sleep(time.Minute)
				wantEdges(t, r.taken(), c.want...)
				halt(t, r, relay)
			})
		})
	}
}

// A pulse that could begin only when somebody else may stand before the gate is not given.
func TestRelayIsNotPulsedLate(t *testing.T) {
	for _, c := range []struct {
		rule  string
		first time.Duration // how long the first cue may wait, and the second, shown 100 ms later
		next  time.Duration
		want  []edge
	}{
		{"in time", time.Second, 2 * time.Second, []edge{{0, "Y", high}, {500 * ms, "Y", low}, {1500 * ms, "Y", high}, {2000 * ms, "Y", low}}},
		{"late at the end of the cool-down", time.Second, 1400 * ms, []edge{{0, "Y", high}, {500 * ms, "Y", low}}},
		{"late when it comes", -ms, 50 * ms, []edge{{100 * ms, "Y", high}, {600 * ms, "Y", low}}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				relay, r := relayOf(t, RelayOptions{Line: Line{Name: "Y"}, CoolDown: time.Second})
				cue := gateOpens
				cue.By = time.Now().Add(c.first)
				show(t, relay, cue)
				time.Sleep(100 * ms)
				cue.By = time.Now().Add(c.next)
				show(t, relay, cue)
				time.Sleep(time.Minute)
				wantEdges(t, r.taken(), c.want...)
				halt(t, r, relay)
			})
		})
	}
}

func TestRelayActiveLow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, r := relayOf(t, RelayOptions{Line: Line{Name: "Y", ActiveLow: true}})
		show(t, relay, gateOpens)
		time.Sleep(time.Minute)
		wantEdges(t, r.taken(), edge{0, "Y", low}, edge{500 * ms, "Y", high})
		halt(t, r, relay)
	})
}

// The cool-down is the time for which the line is off, however long the kernel took to switch it.
func TestRelayCoolDownBeginsWhenTheLineIsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, r := relayOf(t, RelayOptions{Line: Line{Name: "Y"}, Pulse: 500 * ms, CoolDown: 300 * ms})
		show(t, relay, gateOpens)
		show(t, relay, gateOpens) // waits
		time.Sleep(400 * ms)
		r.set(func() { r.slow = 60 * ms })
		time.Sleep(300 * ms)
		r.set(func() { r.slow = 0 })
		time.Sleep(time.Minute)
		wantEdges(t, r.taken(), edge{0, "Y", high}, edge{560 * ms, "Y", low}, edge{860 * ms, "Y", high}, edge{1360 * ms, "Y", low})
		halt(t, r, relay)
	})
}

func TestRelayHaltEndsThePulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, r := relayOf(t, RelayOptions{Line: Line{Name: "Y"}, Pulse: MaxPulse})
		show(t, relay, gateOpens)
		show(t, relay, gateOpens) // waits
		time.Sleep(100 * ms)
		halt(t, r, relay)
		time.Sleep(time.Minute)
		wantEdges(t, r.taken(), edge{0, "Y", high}, edge{100 * ms, "Y", low})
	})
}

// A line that fails is switched off as soon as it can be, and what could not be done is not done later.
func TestRelayFaults(t *testing.T) {
	gone := errors.New("remote I/O error")
	for _, c := range []struct {
		rule string
		play func(relay *Relay, r *fixture) // from a cue at 0
		want []edge
	}{
		{"the line fails before the pulse", func(relay *Relay, r *fixture) {
			r.set(func() { r.fail["Y"] = gone })
			if err := relay.Show(context.Background(), gateOpens); !errors.Is(err, drivers.ErrLost) {
				t.Errorf("Show = %v", err)
			}
			time.Sleep(200 * ms)
			if err := relay.Show(context.Background(), gateOpens); !errors.Is(err, drivers.ErrUnavailable) {
				t.Errorf("Show again = %v", err)
			}
			r.set(func() { delete(r.fail, "Y") })
		}, nil},
		{"the line fails when the pulse ends", func(relay *Relay, r *fixture) {
			show(t, relay, gateOpens)
			r.set(func() { r.fail["Y"] = gone })
			time.Sleep(600 * ms)
			if relay.Check() == nil {
				t.Error("Check is content with a relay that could not be switched off")
			}
			r.set(func() { delete(r.fail, "Y") })
		}, []edge{{0, "Y", high}, {650 * ms, "Y", low}}},
		{"a pulse waits when the line fails", func(relay *Relay, r *fixture) {
			show(t, relay, gateOpens)
			show(t, relay, gateOpens)
			r.set(func() { r.fail["Y"] = gone })
			time.Sleep(600 * ms)
			r.set(func() { delete(r.fail, "Y") })
		}, []edge{{0, "Y", high}, {650 * ms, "Y", low}}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				relay, r := relayOf(t, RelayOptions{Line: Line{Name: "Y"}})
				c.play(relay, r)
				time.Sleep(time.Minute)
				wantEdges(t, r.taken(), c.want...)
				if err := relay.Check(); err != nil {
					t.Errorf("the fault stays: %v", err)
				}
				halt(t, r, relay)
			})
		})
	}
}

func TestRelayOutLastsALineLostInThePulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, r := relayOf(t, RelayOptions{Line: Line{Name: "Y"}, Pulse: 5 * time.Second})
		show(t, relay, gateOpens)
		time.Sleep(time.Second)
		r.set(func() { r.fail["Y"] = errors.New("no such device") })
		time.Sleep(refreshEvery)
		synctest.Wait()
		r.set(func() { delete(r.fail, "Y") })
		time.Sleep(time.Minute)
		edges := r.taken()
		if len(edges) != 2 || edges[1].level != low || edges[1].at > 5*time.Second {
			t.Errorf("edges %v, want the pulse ended when the line was back, and no second", edges)
		}
		halt(t, r, relay)
	})
}

func TestRelayOptions(t *testing.T) {
	for rule, c := range map[string]struct {
		o    RelayOptions
		want string
	}{
		"a relay has a line":          {RelayOptions{}, "no line"},
		"a pulse is 10 s at most":     {RelayOptions{Line: Line{Name: "Y"}, Pulse: MaxPulse + 1}, "pulse"},
		"a cool-down is not negative": {RelayOptions{Line: Line{Name: "Y"}, CoolDown: -1}, "cool-down"},
	} {
		t.Run(rule, func(t *testing.T) {
			relay, err := newRelay(c.o, newFixture(t).opener)
			if err == nil || !strings.Contains(err.Error(), c.want) || relay != nil {
				t.Errorf("%v, %v, want an error with %q alone", relay, err, c.want)
			}
		})
	}
}
