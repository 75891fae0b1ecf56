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
)

var lightLines = []string{"GREEN", "AMBER", "RED", "BUZZER", "RELAY"}

func newChip(t *testing.T, name string) *Chip {
	t.Helper()
	c, err := NewChip(name, lightLines...)
	must(t, err)
	t.Cleanup(func() { must(t, c.Close()) })
	return c
}

func watch(t *testing.T, c *Chip) *Scope {
	t.Helper()
	s, err := c.Watch()
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func newLights(t *testing.T, activeLow bool) *gpio.Lights {
	t.Helper()
	line := func(name string) gpio.Line { return gpio.Line{Name: name, ActiveLow: activeLow} }
	l, err := gpio.NewLights(gpio.LightsOptions{Green: line("GREEN"), Amber: line("AMBER"), Red: line("RED"), Buzzer: line("BUZZER")})
	must(t, err)
	must(t, await("the lights", func() (bool, error) { return l.Check() == nil, nil }))
	return l
}

func settled(t *testing.T, s *Scope, want ...string) {
	t.Helper()
	must(t, await(fmt.Sprintf("%v alone to be high", want), func() (bool, error) {
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
		must(t, l.Show(t.Context(), drivers.Cue{Light: c.light, Hold: hold}))
		if !s.High(c.line) {
			must(t, await(c.line+" to be high", func() (bool, error) { return s.High(c.line), nil }))
		}
		must(t, await("the light and the buzzer to end", func() (bool, error) {
			return len(s.Pulses(c.line)) == 1 && len(s.Pulses("BUZZER")) >= beeps+i+1 && !s.High("BUZZER"), nil
		}))
		beeps += i + 1
		got := s.Pulses(c.line)[0]
		tell(t, "gpio_"+strings.ToLower(c.line)+"_ms", float64(got.Longest().Milliseconds()))
		if got.Longest() < hold {
			t.Errorf("%s was on for at most %v, want %v", c.line, got.Longest(), hold)
		}
	}
	if n := len(s.Pulses("BUZZER")); n != beeps {
		t.Errorf("the buzzer sounded %d times, want %d", n, beeps)
	}
	for _, p := range s.Pulses("BUZZER") {
		tell(t, "gpio_beep_ms", float64(p.Longest().Milliseconds()))
	}
	t.Run("a later colour takes the place of the former", func(t *testing.T) {
		for range 20 {
			for _, light := range []drivers.Light{drivers.Green, drivers.Red, drivers.Amber} {
				must(t, l.Show(t.Context(), drivers.Cue{Light: light, Hold: time.Second}))
			}
		}
		overlap(t, s)
	})
	t.Run("halt makes all dark", func(t *testing.T) {
		must(t, l.Show(t.Context(), drivers.Cue{Light: drivers.Red, Hold: 10 * time.Second}))
		must(t, l.Halt())
		settled(t, s)
	})
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
	must(t, l.Show(t.Context(), drivers.Cue{Light: drivers.Green, Hold: 10 * time.Second}))
	must(t, await("green to be low", func() (bool, error) { return !s.High("GREEN") && s.High("AMBER") && s.High("RED"), nil }))
	must(t, l.Halt())
}

// TestGPIORelay reads the length and the number of pulses back from the chip.
func TestGPIORelay(t *testing.T) {
	s := watch(t, newChip(t, "relay"))
	const pulse, coolDown = 300 * time.Millisecond, 400 * time.Millisecond
	r, err := gpio.NewRelay(gpio.RelayOptions{Line: gpio.Line{Name: "RELAY"}, Pulse: pulse, CoolDown: coolDown})
	must(t, err)
	defer func() { must(t, r.Halt()) }()
	must(t, await("the relay", func() (bool, error) { return r.Check() == nil, nil }))
	opens := func(n int) []Pulse {
		t.Helper()
		must(t, await(fmt.Sprintf("%d pulses", n), func() (bool, error) { return len(s.Pulses("RELAY")) >= n, nil }))
		return s.Pulses("RELAY")
	}
	must(t, r.Show(t.Context(), drivers.Cue{Light: drivers.Red}))
	must(t, r.Show(t.Context(), drivers.Cue{Relay: true}))
	opens(1)
	for range 5 { // all within one cool-down
		must(t, r.Show(t.Context(), drivers.Cue{Relay: true}))
	}
	opens(2)
	time.Sleep(2 * (pulse + coolDown))
	got := s.Pulses("RELAY")
	if len(got) != 2 || s.High("RELAY") {
		t.Fatalf("the relay was pulsed %d times, want 2", len(got))
	}
	for i, p := range got {
		tell(t, fmt.Sprintf("gpio_relay_%d_ms", i+1), float64(p.Longest().Milliseconds()))
		if p.Longest() < pulse || p.Shortest() > 3*pulse {
			t.Errorf("pulse %d lasted %v to %v, want %v", i+1, p.Shortest(), p.Longest(), pulse)
		}
	}
	if pause := got[1].From.Sub(got[0].LastSeen); pause < coolDown {
		t.Errorf("the relay was pulsed again after at most %v, want %v", pause, coolDown)
	}
}

// TestGPIORelayInDanger has what could leave a gate open happen in the middle of a pulse.
func TestGPIORelayInDanger(t *testing.T) {
	s := watch(t, newChip(t, "danger"))
	r, err := gpio.NewRelay(gpio.RelayOptions{Line: gpio.Line{Name: "RELAY"}, Pulse: 10 * time.Second})
	must(t, err)
	must(t, await("the relay", func() (bool, error) { return r.Check() == nil, nil }))
	must(t, r.Show(t.Context(), drivers.Cue{Relay: true}))
	must(t, await("the pulse", func() (bool, error) { return s.High("RELAY"), nil }))
	must(t, r.Halt())
	must(t, await("the pulse to be cut", func() (bool, error) { return !s.High("RELAY"), nil }))
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
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	must(t, await("the pulse", func() (bool, error) { return s.High("RELAY"), nil }))
	must(t, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
	must(t, await("the relay to be let go", func() (bool, error) { return !s.High("RELAY"), nil }))
	if got := s.Pulses("RELAY")[0].Shortest(); got > 9*time.Second {
		t.Errorf("the pulse of %v went on for %v", 10*time.Second, got)
	}
}

// TestGPIOChipGoesAndComes takes the chip away while its lines are in use, and brings it back.
func TestGPIOChipGoesAndComes(t *testing.T) {
	c := newChip(t, "coming")
	l := newLights(t, false)
	for range 3 {
		must(t, c.Unplug())
		must(t, await("the loss to be noticed", func() (bool, error) { return l.Check() != nil, nil }))
		if err := l.Check(); !errors.Is(err, drivers.ErrLost) && !errors.Is(err, drivers.ErrUnavailable) {
			t.Errorf("Check says %v", err)
		}
		must(t, c.Plug())
		must(t, await("the lights to be back", func() (bool, error) { return l.Check() == nil, nil }))
		tell(t, "gpio_chip_replugs", count("gpio_chip_replugs"))
	}
	s := watch(t, c)
	must(t, l.Show(t.Context(), drivers.Cue{Light: drivers.Green, Hold: 10 * time.Second}))
	must(t, await("green", func() (bool, error) { return s.High("GREEN"), nil }))
	must(t, l.Halt())
	settled(t, s)
}
