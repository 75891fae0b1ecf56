package gpio

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Line is a line of a GPIO chip. The zero Line is one that is not wired.
type Line struct {
	// Name is the line's name in the kernel, for example "GPIO17" (gpioinfo lists them), or "label:offset" with the
	// label of its chip where lines have no names, for example "pinctrl-rp1:17".
	Name      string
	ActiveLow bool // whether what is wired to it is on while the line is low
}

func (l Line) wired() bool { return l.Name != "" }

// LightsOptions are what [Lights] are made of. At least one line is wired. Without an amber light, amber is shown as red.
type LightsOptions struct {
	Name                      string // tells these lights from others, for people, for example the lane's; may be empty
	Green, Amber, Red, Buzzer Line
}

// RelayOptions are what a [Relay] is made of.
type RelayOptions struct {
	Name     string // as in LightsOptions
	Line     Line
	Pulse    time.Duration // how long the relay is on, up to MaxPulse; 0 is DefaultPulse
	CoolDown time.Duration // least time between two pulses, from 0 to MaxPulse
	Logger   *slog.Logger  // for a pulse that lasted too long; nil is silent
}

const (
	DefaultPulse = 500 * time.Millisecond
	MaxPulse     = 10 * time.Second
)

func (opts LightsOptions) check() error {
	names := map[string]bool{}
	for _, l := range []Line{opts.Green, opts.Amber, opts.Red, opts.Buzzer} {
		if l.wired() && names[l.Name] {
			return fmt.Errorf("line %s is used twice", l.Name)
		}
		names[l.Name] = true
	}
	if len(names) == 1 && names[""] {
		return errors.New("no line is wired")
	}
	return nil
}

func (opts RelayOptions) check() error {
	switch {
	case !opts.Line.wired():
		return errors.New("the relay has no line")
	case opts.Pulse < 0 || opts.Pulse > MaxPulse:
		return fmt.Errorf("the relay's pulse is %v, must be up to %v", opts.Pulse, MaxPulse)
	case opts.CoolDown < 0 || opts.CoolDown > MaxPulse:
		return fmt.Errorf("the relay's cool-down is %v, must be up to %v", opts.CoolDown, MaxPulse)
	}
	return nil
}
