package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/gpio"
	"github.com/kipass/kipass/internal/testkit"
)

var lightLines = []string{"GREEN", "AMBER", "RED", "BUZZER", "RELAY"}

func newChip(t *testing.T, name string) *Chip {
	t.Helper()
	c := testkit.Must(NewChip(name, lightLines...))(t)
	t.Cleanup(func() { testkit.Check(t, c.Close()) })
	return c
}

func watch(t *testing.T, c *Chip) *Scope {
	t.Helper()
	s := testkit.Must(c.Watch())(t)
	t.Cleanup(func() { testkit.Check(t, s.Close()) })
	return s
}

func newLights(t *testing.T, activeLow bool) *gpio.Lights {
	t.Helper()
	line := func(name string) gpio.Line { return gpio.Line{Name: name, ActiveLow: activeLow} }
	l := testkit.Must(gpio.NewLights(gpio.LightsOptions{Green: line("GREEN"), Amber: line("AMBER"), Red: line("RED"), Buzzer: line("BUZZER")}))(t)
	testkit.Check(t, await("the lights", func() (bool, error) { return l.Check() == nil, nil }))
	return l
}

func settled(t *testing.T, s *Scope, want ...string) {
	t.Helper()
	testkit.Check(t, await(fmt.Sprintf("%v alone to be high", want), func() (bool, error) {
		for _, line := range lightLines[:4] {
			if s.High(line) != slices.Contains(want, line) {
				return false, nil
			}
		}
		return true, nil
	}))
}

// TestGPIOLights reads each colour and the buzzer back from the chip, and finds never two colours on at once.
func TestGPIOLights(t *testing.T) {
	s := watch(t, newChip(t, "lights"))
	l := newLights(t, false)
	const hold = 800 * time.Millisecond
	beeps := 0
	for i, c := range []struct {
		light drivers.Light
		line  string
	}{{drivers.Green, "GREEN"}, {drivers.Amber, "AMBER"}, {drivers.Red, "RED"}} {
		asked := time.Now()
		testkit.Check(t, l.Show(t.Context(), drivers.Cue{Light: c.light, Hold: hold}))
		testkit.Check(t, await(c.line+" to be high", func() (bool, error) { return s.High(c.line), nil }))
		testkit.Check(t, await("the light and the buzzer to end", func() (bool, error) {
			return len(s.Pulses(c.line)) == 1 && len(s.Pulses("BUZZER")) >= beeps+i+1 && !s.High("BUZZER"), nil
		}))
		beeps += i + 1
		got := s.Pulses(c.line)[0]
		report(t, "gpio_"+strings.ToLower(c.line)+"_ms", float64(got.Longest().Milliseconds()))
		lasted(t, c.line, got, asked, hold)
	}
	if n := len(s.Pulses("BUZZER")); n != beeps {
		t.Errorf("the buzzer sounded %d times, want %d", n, beeps)
	}
	for _, p := range s.Pulses("BUZZER") {
		report(t, "gpio_beep_ms", float64(p.Longest().Milliseconds()))
	}
	t.Run("a later colour takes the place of the former", func(t *testing.T) {
		for range 20 {
			for _, light := range []drivers.Light{drivers.Green, drivers.Red, drivers.Amber} {
				testkit.Check(t, l.Show(t.Context(), drivers.Cue{Light: light, Hold: time.Second}))
			}
		}
		overlap(t, s)
	})
	t.Run("halt makes all dark", func(t *testing.T) {
		testkit.Check(t, l.Show(t.Context(), drivers.Cue{Light: drivers.Red, Hold: 10 * time.Second}))
		testkit.Check(t, l.Halt())
		settled(t, s)
	})
}

// lasted checks for how long a line was high: until no less than want after it was asked for, and hardly longer. The second
// holds on every host because the machine's clock waits for what runs in it.
func lasted(t *testing.T, line string, p Pulse, asked time.Time, want time.Duration) {
	t.Helper()
	if least := p.To.Sub(asked); least < want {
		t.Errorf("%s was on until %v after it was asked for, want %v", line, least, want)
	}
	if p.Shortest() > want+want/10 {
		t.Errorf("%s was on for %v, want %v", line, p.Shortest(), want)
	}
}

// overlap checks that no two colours were on at once.
func overlap(t *testing.T, s *Scope) {
	t.Helper()
	colours := lightLines[:3]
	for i, a := range colours {
		for _, b := range colours[i+1:] {
			for _, p := range s.Pulses(a) {
				for _, q := range s.Pulses(b) {
					if p.From.Before(q.LastSeen) && q.From.Before(p.LastSeen) {
						t.Fatalf("%s and %s were on at once", a, b)
					}
				}
			}
		}
	}
}

// TestGPIOActiveLow has lights that are on while their line is low.
func TestGPIOActiveLow(t *testing.T) {
	s := watch(t, newChip(t, "inverse"))
	l := newLights(t, true)
	settled(t, s, "GREEN", "AMBER", "RED", "BUZZER")
	testkit.Check(t, l.Show(t.Context(), drivers.Cue{Light: drivers.Green, Hold: 10 * time.Second}))
	testkit.Check(t, await("green to be low", func() (bool, error) { return !s.High("GREEN") && s.High("AMBER") && s.High("RED"), nil }))
	testkit.Check(t, l.Halt())
}

// TestGPIORelay reads the length and the number of pulses back from the chip.
func TestGPIORelay(t *testing.T) {
	s := watch(t, newChip(t, "relay"))
	const pulse, coolDown = 300 * time.Millisecond, 400 * time.Millisecond
	r := testkit.Must(gpio.NewRelay(gpio.RelayOptions{Line: gpio.Line{Name: "RELAY"}, Pulse: pulse, CoolDown: coolDown}))(t)
	defer func() { testkit.Check(t, r.Halt()) }()
	testkit.Check(t, await("the relay", func() (bool, error) { return r.Check() == nil, nil }))
	opens := func(n int) []Pulse {
		t.Helper()
		testkit.Check(t, await(fmt.Sprintf("%d pulses", n), func() (bool, error) { return len(s.Pulses("RELAY")) >= n, nil }))
		return s.Pulses("RELAY")
	}
	testkit.Check(t, r.Show(t.Context(), drivers.Cue{Light: drivers.Red}))
	asked := time.Now()
	testkit.Check(t, r.Show(t.Context(), drivers.Cue{Relay: true}))
	opens(1)
	for range 5 { // all within one cool-down
		testkit.Check(t, r.Show(t.Context(), drivers.Cue{Relay: true}))
	}
	opens(2)
	time.Sleep(2 * (pulse + coolDown))
	got := s.Pulses("RELAY")
	if len(got) != 2 || s.High("RELAY") {
		t.Fatalf("the relay was pulsed %d times, want 2", len(got))
	}
	for i, p := range got {
		report(t, fmt.Sprintf("gpio_relay_%d_ms", i+1), float64(p.Longest().Milliseconds()))
	}
	lasted(t, "RELAY", got[0], asked, pulse)
	lasted(t, "RELAY", got[1], got[0].LastSeen.Add(coolDown), pulse)
	if pause := got[1].From.Sub(got[0].LastSeen); pause < coolDown {
		t.Errorf("the relay was pulsed again after at most %v, want %v", pause, coolDown)
	}
}

// TestGPIORelayInDanger has what could leave a gate open happen in the middle of a pulse.
func TestGPIORelayInDanger(t *testing.T) {
	s := watch(t, newChip(t, "danger"))
	r := testkit.Must(gpio.NewRelay(gpio.RelayOptions{Line: gpio.Line{Name: "RELAY"}, Pulse: 10 * time.Second}))(t)
	testkit.Check(t, await("the relay", func() (bool, error) { return r.Check() == nil, nil }))
	testkit.Check(t, r.Show(t.Context(), drivers.Cue{Relay: true}))
	testkit.Check(t, await("the pulse", func() (bool, error) { return s.High("RELAY"), nil }))
	testkit.Check(t, r.Halt())
	testkit.Check(t, await("the pulse to be cut", func() (bool, error) { return !s.High("RELAY"), nil }))
	if got := s.Pulses("RELAY")[0].Shortest(); got > 9*time.Second {
		t.Errorf("the relay was halted and the pulse went on for %v", got)
	}
}

// holdWord starts a process that holds a relay on until it is killed.
const holdWord = "hold-relay"

func holdRelay(out io.Writer) error {
	r, err := gpio.NewRelay(gpio.RelayOptions{Line: gpio.Line{Name: "RELAY"}, Pulse: 10 * time.Second})
	if err != nil {
		return err
	}
	if err := await("the relay", func() (bool, error) { return r.Check() == nil, nil }); err != nil {
		return err
	}
	if err := r.Show(context.Background(), drivers.Cue{Relay: true}); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, "held"); err != nil {
		return err
	}
	select {}
}

// TestGPIORelayOfAKilledGate kills the process in the middle of a pulse. This kernel, as upstream's chips do, lets the line
// go with the process that held it.
func TestGPIORelayOfAKilledGate(t *testing.T) {
	s := watch(t, newChip(t, "killed"))
	cmd := exec.Command("/proc/self/exe", holdWord)
	cmd.Stderr = os.Stderr
	out := testkit.Must(cmd.StdoutPipe())(t)
	testkit.Check(t, cmd.Start())
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	testkit.Check(t, await("the pulse", func() (bool, error) { return s.High("RELAY"), nil }))
	testkit.Check(t, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
	testkit.Check(t, await("the relay to be let go", func() (bool, error) { return !s.High("RELAY"), nil }))
	if got := s.Pulses("RELAY")[0].Shortest(); got > 9*time.Second {
		t.Errorf("the pulse of %v went on for %v", 10*time.Second, got)
	}
}

// TestGPIOChipGoesAndComes takes the chip away while its lines are in use, and brings it back.
func TestGPIOChipGoesAndComes(t *testing.T) {
	c := newChip(t, "coming")
	l := newLights(t, false)
	for range 3 {
		testkit.Check(t, c.Unplug())
		testkit.Check(t, await("the loss to be noticed", func() (bool, error) { return l.Check() != nil, nil }))
		if err := l.Check(); !errors.Is(err, drivers.ErrLost) && !errors.Is(err, drivers.ErrUnavailable) {
			t.Errorf("Check says %v", err)
		}
		testkit.Check(t, c.Plug())
		testkit.Check(t, await("the lights to be back", func() (bool, error) { return l.Check() == nil, nil }))
		report(t, "gpio_chip_replugs", count("gpio_chip_replugs"))
	}
	s := watch(t, c)
	testkit.Check(t, l.Show(t.Context(), drivers.Cue{Light: drivers.Green, Hold: 10 * time.Second}))
	testkit.Check(t, await("green", func() (bool, error) { return s.High("GREEN"), nil }))
	testkit.Check(t, l.Halt())
	settled(t, s)
}
