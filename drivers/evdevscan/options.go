// Package evdevscan drives scanners that appear as an input device: those built into a PDA, and USB or Bluetooth readers
// set to keyboard. It owns the device alone, so that nothing a code types reaches a console or a desktop, and turns key
// codes into characters itself, by the US layout, so that no keyboard layout and no input method stands in between.
package evdevscan

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/kipass/kipass/drivers/framing"
)

// Options describes one scanner. Name and Device are required; the zero value of everything else is a working default.
type Options struct {
	Name string // the reader's name in the config, for example "front"

	// Device says which input device it is: an absolute path, best /dev/input/by-id/…-event-kbd; or "0c2e:0b61", its USB
	// vendor and product as 4 hex digits each; or else the name the kernel shows for it, as in /proc/bus/input/devices.
	// Name and number are looked up each time it is opened, since /dev/input/eventN changes from one plugging in to another.
	Device string

	Terminator framing.Terminator // what ends a code: Auto (Enter, keypad Enter, Tab or silence), CR (Enter), Tab, None; empty is Auto
	IdleGap    time.Duration      // silence that ends a code without terminator; 0 is framing.DefaultGap
	Prefix     string             // what the scanner was set up to type before each code; stripped
	Suffix     string             // what it types behind, other than the terminator; stripped

	Begins   string // how every code that matters begins; a scanner set to another keyboard country is known by it; empty looks for none
	Alphabet string // the characters of which such a code consists; others in it mean damage; empty is any

	Log *slog.Logger // nil discards
}

// Terminators lists those a keyboard can type.
var Terminators = []framing.Terminator{framing.Auto, framing.CR, framing.Tab, framing.None}

func (o Options) withDefaults() (Options, error) {
	o.Terminator = cmp.Or(o.Terminator, framing.Auto)
	o.IdleGap = cmp.Or(o.IdleGap, framing.DefaultGap)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	if o.Name == "" {
		return o, errors.New("an input device needs a name")
	}
	if _, err := parsePlace(o.Device); err != nil {
		return o, err
	}
	if !slices.Contains(Terminators, o.Terminator) {
		return o, fmt.Errorf("terminator %q cannot be typed: use one of %s", o.Terminator, Terminators)
	}
	if o.IdleGap < 0 || o.IdleGap > 2*time.Second {
		return o, fmt.Errorf("idle gap %s is out of range: use up to 2s", o.IdleGap)
	}
	return o, nil
}

func (o Options) rule() framing.Rule {
	return framing.Rule{Terminator: o.Terminator, Gap: o.IdleGap, Prefix: []byte(o.Prefix), Suffix: []byte(o.Suffix)}
}

// place says where a device is to be found: by path, by vendor and product, or by name.
type place struct {
	path            string
	byID            bool
	vendor, product uint16
	name            string
}

var usbID = regexp.MustCompile(`^([0-9A-Fa-f]{4}):([0-9A-Fa-f]{4})$`)

func parsePlace(device string) (place, error) {
	if device == "" {
		return place{}, errors.New("an input device needs its path below /dev/input/by-id, its vendor:product, or its name")
	}
	if filepath.IsAbs(device) {
		return place{path: device}, nil
	}
	if m := usbID.FindStringSubmatch(device); m != nil {
		vendor, _ := strconv.ParseUint(m[1], 16, 16)
		product, _ := strconv.ParseUint(m[2], 16, 16)
		return place{byID: true, vendor: uint16(vendor), product: uint16(product)}, nil
	}
	return place{name: device}, nil
}

// String returns the place as it is written in the config.
func (p place) String() string {
	switch {
	case p.path != "":
		return p.path
	case p.byID:
		return fmt.Sprintf("%04x:%04x", p.vendor, p.product)
	default:
		return p.name
	}
}
