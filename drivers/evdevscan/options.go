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

	"github.com/kipass/kipass/drivers/framing"
)

// Options describes one scanner. Name and Device are required; the zero value of everything else is a working default.
type Options struct {
	Name string // the reader's name in the config, for example "front"

	// Device says which input device it is: an absolute path, best /dev/input/by-id/…-event-kbd; or "0c2e:0b61", its USB
	// vendor and product as 4 hex digits each; or else the name the kernel shows for it, as in /proc/bus/input/devices.
	// Name and number are looked up each time it is opened, since /dev/input/eventN changes from one plugging in to another.
	Device string

	Framing framing.Rule // what ends a code and what is stripped from it; of the terminators only those of Terminators can be typed

	Logger *slog.Logger // nil discards
}

// Terminators lists those a keyboard can type: Enter or keypad Enter is CR, and Auto is Enter, Tab or silence.
var Terminators = []framing.Terminator{framing.Auto, framing.CR, framing.Tab, framing.None}

func (opts Options) withDefaults() (Options, error) {
	opts.Framing = opts.Framing.WithDefaults()
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	if opts.Name == "" {
		return opts, errors.New("an input device needs a name")
	}
	if _, err := parsePlace(opts.Device); err != nil {
		return opts, err
	}
	if !slices.Contains(Terminators, opts.Framing.Terminator) {
		return opts, fmt.Errorf("terminator %q cannot be typed: use one of %s", opts.Framing.Terminator, Terminators)
	}
	if err := opts.Framing.Check(); err != nil {
		return opts, err
	}
	return opts, nil
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
