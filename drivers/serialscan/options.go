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

	Terminator framing.Terminator // what ends a code; empty is framing.Auto
	IdleGap    time.Duration      // silence that ends a code without terminator, noticed at 100 ms at the earliest; 0 is framing.DefaultGap
	Prefix     string             // what the reader was set up to put before each code; stripped
	Suffix     string             // what it puts behind, other than the terminator; stripped

	Model    Model         // the command family; empty is Generic
	Trigger  Trigger       // who starts a reading; empty is TriggerReader
	Light    Light         // the reader's own lighting; empty leaves it as it is
	Commands Commands      // replaces single commands of the family
	Recheck  time.Duration // how often volatile settings are renewed, for a reader that has reset itself; 0 is 30 s, negative never

	Log *slog.Logger // nil discards
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

func (o Options) withDefaults() (Options, error) {
	o.Baud = cmp.Or(o.Baud, DefaultBaud)
	o.Terminator = cmp.Or(o.Terminator, framing.Auto)
	o.IdleGap = cmp.Or(o.IdleGap, framing.DefaultGap)
	o.Model = cmp.Or(o.Model, Generic)
	o.Trigger = cmp.Or(o.Trigger, TriggerReader)
	o.Light = cmp.Or(o.Light, LightKeep)
	o.Recheck = cmp.Or(o.Recheck, 30*time.Second)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	if o.Name == "" {
		return o, errors.New("a serial reader needs a name")
	}
	if o.Device == "" {
		return o, errors.New("a serial reader needs a device, for example /dev/serial/by-id/…")
	}
	if !slices.Contains(Bauds, o.Baud) {
		return o, fmt.Errorf("baud rate %d is not supported: use one of %s", o.Baud, strings.Trim(fmt.Sprint(Bauds), "[]"))
	}
	if _, err := framing.ParseTerminator(string(o.Terminator)); err != nil {
		return o, err
	}
	if o.IdleGap < 0 || o.IdleGap > 2*time.Second {
		return o, fmt.Errorf("idle gap %s is out of range: use up to 2s", o.IdleGap)
	}
	if !slices.Contains(Models, o.Model) {
		return o, fmt.Errorf("unknown reader model %q: use one of %s", o.Model, strings.Trim(fmt.Sprint(Models), "[]"))
	}
	if !slices.Contains([]Trigger{TriggerReader, TriggerHost}, o.Trigger) {
		return o, fmt.Errorf("unknown trigger %q: use %s or %s", o.Trigger, TriggerReader, TriggerHost)
	}
	if !slices.Contains([]Light{LightKeep, LightOn, LightOff}, o.Light) {
		return o, fmt.Errorf("unknown light %q: use %s, %s or %s", o.Light, LightKeep, LightOn, LightOff)
	}
	return o, nil
}

func (o Options) rule() framing.Rule {
	return framing.Rule{Terminator: o.Terminator, Gap: o.IdleGap, Prefix: []byte(o.Prefix), Suffix: []byte(o.Suffix)}
}
