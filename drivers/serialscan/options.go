// Package serialscan drives 2D readers on a serial line: RS-232, TTL and USB CDC-ACM. It owns the line from open to
// loss, cuts what arrives into frames, and speaks the commands of a few reader families.
package serialscan

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/kipass/kipass/drivers/framing"
)

// DefaultBaud is the line speed used when none is given. A code of 200 bytes takes about 17 ms at it, and about 208 ms
// at 9600 baud.
const DefaultBaud = 115200

// Bauds lists the line speeds in bit/s that are supported: those that Linux has a constant for.
var Bauds = []int{
	1200, 1800, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 500000, 576000, 921600,
	1000000, 1152000, 1500000, 2000000, 2500000, 3000000, 3500000, 4000000,
}

// Options describes one reader. Name and Device are required; the zero value of everything else is a working default.
type Options struct {
	Name   string // the reader's name in the config, for example "front"
	Device string // the line, best as /dev/serial/by-id/…, which stays the same when the reader is plugged in again
	Baud   int    // bit/s, 8 data bits, no parity, 1 stop bit; 0 is DefaultBaud; USB CDC-ACM readers ignore it

	Framing framing.Rule // what ends a code and what is stripped from it; silence is noticed at 100 ms at the earliest

	Model    Model         // the command family; empty is Generic
	Trigger  Trigger       // who starts a reading; empty is TriggerReader
	Light    Light         // the reader's own lighting; empty leaves it as it is
	Commands Commands      // replaces single commands of the family
	Recheck  time.Duration // how often volatile settings are renewed, for a reader that has reset itself; 0 is 30 s, negative never

	Logger *slog.Logger // nil discards
}

// Trigger says who starts a reading.
type Trigger string

const (
	TriggerReader Trigger = "reader" // the reader itself, which senses a code held before it (presentation mode)
	TriggerHost   Trigger = "host"   // the gate, by the family's trigger command, for as long as it is in service
)

// Light says what becomes of the reader's own lighting.
type Light string

const (
	LightKeep Light = "keep"
	LightOn   Light = "on"
	LightOff  Light = "off"
)

func (opts Options) withDefaults() (Options, error) {
	opts.Baud = cmp.Or(opts.Baud, DefaultBaud)
	opts.Framing = opts.Framing.WithDefaults()
	opts.Model = cmp.Or(opts.Model, Generic)
	opts.Trigger = cmp.Or(opts.Trigger, TriggerReader)
	opts.Light = cmp.Or(opts.Light, LightKeep)
	opts.Recheck = cmp.Or(opts.Recheck, 30*time.Second)
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	if opts.Name == "" {
		return opts, errors.New("a serial reader needs a name")
	}
	if opts.Device == "" {
		return opts, errors.New("a serial reader needs a device, for example /dev/serial/by-id/…")
	}
	if !slices.Contains(Bauds, opts.Baud) {
		return opts, fmt.Errorf("baud rate %d is not supported: use one of %s", opts.Baud, strings.Trim(fmt.Sprint(Bauds), "[]"))
	}
	if err := opts.Framing.Check(); err != nil {
		return opts, err
	}
	if !slices.Contains(Models, opts.Model) {
		return opts, fmt.Errorf("unknown reader model %q: use one of %s", opts.Model, strings.Trim(fmt.Sprint(Models), "[]"))
	}
	if !slices.Contains([]Trigger{TriggerReader, TriggerHost}, opts.Trigger) {
		return opts, fmt.Errorf("unknown trigger %q: use %s or %s", opts.Trigger, TriggerReader, TriggerHost)
	}
	if !slices.Contains([]Light{LightKeep, LightOn, LightOff}, opts.Light) {
		return opts, fmt.Errorf("unknown light %q: use %s, %s or %s", opts.Light, LightKeep, LightOn, LightOff)
	}
	return opts, nil
}
