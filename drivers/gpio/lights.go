package gpio

import (
	"sync/atomic"
	"time"

	"github.com/kipass/kipass/drivers"
)

const (
	beep    = 100 * time.Millisecond // how long the buzzer sounds, and pauses between two
	maxHold = 10 * time.Second       // the longest a colour stays, whatever the cue says
)

// beeps says how often the buzzer sounds for a colour.
var beeps = map[drivers.Light]int{drivers.Green: 1, drivers.Amber: 2, drivers.Red: 3}

// Lights are up to three lights and a buzzer, as a [drivers.Indicator], [drivers.Checker] and [drivers.Idler]. One
// colour is on at a time, for the cue's Hold; the buzzer sounds once for green, twice for amber, three times for red.
type Lights struct {
	actuator
	name string
	idle *atomic.Uint32
}

// NewLights returns the lights, dark, or an error if the options make no sense. Lines that are not there are no error:
// they are tried again and again, and Check says what is wrong. Halt ends them.
func NewLights(opts LightsOptions) (*Lights, error) { return newLights(opts, openLine) }

func newLights(opts LightsOptions, open opener) (*Lights, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	b := newBank(open)
	l := &lamps{bank: b, green: b.add("green", opts.Green), amber: b.add("amber", opts.Amber), red: b.add("red", opts.Red), buzzer: b.add("buzzer", opts.Buzzer)}
	if l.buzzer != nil {
		l.buzzer.fleeting = true
	}
	return &Lights{actuator: start(b, l), name: opts.Name, idle: &l.idle}, nil
}

// SetIdle implements [drivers.Idler].
func (l *Lights) SetIdle(colour drivers.Light) {
	if l.idle.Swap(uint32(colour)) == uint32(colour) {
		return
	}
	select {
	case l.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// String returns "lights (gpio, NAME)".
func (l *Lights) String() string { return called("lights", l.name) }

// lamps is what the goroutine of Lights does. idle alone is shared.
type lamps struct {
	*bank
	green, amber, red, buzzer *output
	idle                      atomic.Uint32 // a drivers.Light: shown while no cue is under way

	colour drivers.Light // what is lit now
	until  time.Time     // when a cue's colour ends; zero while none is under way
	edges  int           // how often the buzzer is still to be switched
	edgeAt time.Time     // when it is next
}

func (l *lamps) show(c drivers.Cue, now time.Time) error {
	colour := c.Light
	l.until = now.Add(min(c.Hold, maxHold))
	if c.Hold <= 0 {
		colour, l.until = l.resting(), time.Time{}
	}
	err := l.light(colour)
	l.edges, l.edgeAt = 0, time.Time{}
	n := beeps[c.Light]
	if berr := l.set(l.buzzer, n > 0); err == nil {
		err = berr
	}
	if n > 0 && l.buzzer != nil {
		l.edges, l.edgeAt = 2*n-1, now.Add(beep)
	}
	return err
}

func (l *lamps) resting() drivers.Light { return drivers.Light(l.idle.Load()) }

// light puts one colour in the place of another. Never are two on at once.
func (l *lamps) light(colour drivers.Light) error {
	l.colour = colour
	wanted := map[drivers.Light]*output{drivers.Green: l.green, drivers.Amber: l.amber, drivers.Red: l.red}[colour]
	if colour == drivers.Amber && l.amber == nil {
		wanted = l.red
	}
	var first error
	for _, o := range []*output{l.green, l.amber, l.red} {
		if o != wanted {
			if err := l.set(o, false); err != nil && first == nil {
				first = err
			}
		}
	}
	if err := l.set(wanted, true); err != nil {
		return err
	}
	return first
}

func (l *lamps) due() time.Time {
	if l.until.IsZero() || !l.edgeAt.IsZero() && l.edgeAt.Before(l.until) {
		return l.edgeAt
	}
	return l.until
}

func (l *lamps) tick(now time.Time) {
	if !l.edgeAt.IsZero() && !now.Before(l.edgeAt) {
		l.edges--
		_ = l.set(l.buzzer, l.edges%2 == 1) // the bank keeps the fault
		l.edgeAt = now.Add(beep)
		if l.edges <= 0 {
			l.edgeAt = time.Time{}
		}
	}
	if !l.until.IsZero() && !now.Before(l.until) {
		l.until = time.Time{}
	}
	if l.until.IsZero() && l.colour != l.resting() {
		_ = l.light(l.resting())
	}
}
