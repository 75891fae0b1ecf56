package chain

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/kipass/kipass/internal/labfault"
)

// ClockFault is a wall clock that goes wrong, as --clock writes it: "gate+9h", "visits-10m@5s", "gate+40s/battery".
type ClockFault struct {
	Party  string        // "gate" or "visits"
	Shift  time.Duration // how far it is ahead
	After  time.Duration // when it is stepped, from the first scan on; a gate's is wrong from its start if it is 0
	Source string        // who vouches for a gate's: "" nobody, "battery" or "kernel"
}

var clockForm = regexp.MustCompile(`^(gate|visits)([+-][0-9hms.]+)(?:@([0-9hms.]+))?(?:/(battery|kernel))?$`)

// ParseClock reads a clock fault; the empty text is none.
func ParseClock(text string) (f ClockFault, err error) {
	if text == "" {
		return f, nil
	}
	parts := clockForm.FindStringSubmatch(text)
	if parts == nil {
		return f, fmt.Errorf("clock %q: write for example gate+9h, visits-10m@5s (stepped 5 s after the first scan) "+
			"or gate+40s/battery (whose clock a battery kept; or kernel, for NTP)", text)
	}
	f.Party, f.Source = parts[1], parts[4]
	if f.Shift, err = time.ParseDuration(parts[2]); err == nil && parts[3] != "" {
		f.After, err = time.ParseDuration(parts[3])
	}
	if err == nil && f.Source != "" && f.Party != "gate" {
		err = fmt.Errorf("%s is for a gate's clock alone", f.Source)
	}
	if err != nil {
		return ClockFault{}, fmt.Errorf("clock %q: %w", text, err)
	}
	return f, nil
}

// controls are the files by which the lab breaks its own builds of gate and visit server.
type controls struct {
	mu    sync.Mutex
	paths map[string]string // by party
	state map[string]labfault.State
}

func newControls(s *stage) *controls {
	return &controls{
		paths: map[string]string{"gate": s.path("gate.faults"), "visits": s.path("visits.faults")},
		state: map[string]labfault.State{},
	}
}

// change tells a party's program what is wrong from now on.
func (c *controls) change(party string, change func(*labfault.State)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.state[party]
	change(&s)
	c.state[party] = s
	return s.Write(c.paths[party])
}

// env has a party's program look at its file.
func (c *controls) env(party string) []string {
	if c == nil {
		return nil
	}
	return []string{labfault.Variable + "=" + c.paths[party]}
}

// setClock makes a clock wrong that is so from the start.
func (s *stage) setClock(f ClockFault) error {
	if f.Party != "gate" {
		return nil
	}
	return s.controls.change("gate", func(state *labfault.State) {
		state.Source = f.Source
		if f.After == 0 {
			state.Clock = f.Shift
		}
	})
}

// stepClock steps the clock in time and says when it has; it sets the server's right when ctx ends, as somebody would
// who is to answer an order.
func (s *stage) stepClock(ctx context.Context, f ClockFault, stepped func(), table *table) error {
	select {
	case <-time.After(f.After):
		table.say(fmt.Sprintf("시계 오류 / the clock of %s is %v off", f.Party, f.Shift))
		if err := s.controls.change(f.Party, func(state *labfault.State) { state.Clock = f.Shift }); err != nil {
			return err
		}
		stepped()
		<-ctx.Done()
	case <-ctx.Done():
	}
	if f.Party == "gate" { // nobody sets it right: what it recorded must be found all the same
		return nil
	}
	return s.controls.change(f.Party, func(state *labfault.State) { state.Clock = 0 })
}

// labBuilt tells whether the programs to be broken were built for that.
func (s *stage) labBuilt(ctx context.Context) error {
	for _, name := range []string{"kipass-gate", "kipass-visits"} {
		version, err := s.programs.Run(ctx, name, "--version")
		if err != nil {
			return err
		}
		if !strings.HasSuffix(strings.TrimSpace(version), labfault.Mark) {
			return fmt.Errorf("%s in %s was not built for the lab, so that its clock and disk cannot be broken: "+
				"make lab, and --bin bin/lab", name, s.programs.Bin)
		}
	}
	return nil
}
