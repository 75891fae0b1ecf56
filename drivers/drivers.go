// Package drivers holds the contracts between the gate and its devices. It knows what a device is told to do, never
// what it means: no codes, no outcomes, no visits. Implementations live in packages of their own below it and never
// import each other.
//
// # Adding a reader family
//
// A family is one folder below drivers, and a few lines in three other places:
//
//  1. The package, for example drivers/hidscan: Options with the reader's Name, how to find the device, a framing.Rule
//     and a Logger; New, which checks them and opens nothing; and a type that implements [Reader]. Take what
//     drivers/internal/device has: Input keeps what Check says and hands frames on, Hints puts errors of the system into
//     a technician's words, WhenDone ends a wait with its context. A stream of bytes is cut by package framing. A
//     device that can be told to stop reading implements [Switchable] too. Start from netscan, the smallest.
//  2. Its tests: make a drivertest.Fixture, functions that plug the device in and out and let it send bytes, and run
//     drivertest.ReaderSuite on it. It holds the family to everything that the contract says. Let the silence that ends
//     a frame be measured by a clock that the fixture sets, so that no test depends on how fast the machine is.
//  3. The config: a new value of Reader.Kind in configs/gate.go with its rules in configs/rules.go, a line in
//     configs/gate.example.toml, and the schema (go test ./configs -run Schema -update). Then the case in openReader of
//     cmd/kipass-gate/devices.go, the only place that knows all families.
//  4. The docs: how a technician sets such a reader up, what can go wrong and in which words the gate says so, and how
//     each claim was checked, in docs/readers.md (docs/handhelds.md for what types or sends to a socket).
//
// An indicator is added in the same way: it implements [Indicator], lets a device.Worker own its device, implements
// [Checker] if it can tell that it would fail, and is made in openIndicators.
package drivers

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// MaxFrame is the most that a reader hands on of a frame, in bytes. Of a longer one, such as a large foreign QR code of
// up to 7,089 characters, it hands on the beginning: no entry code is as long.
const MaxFrame = 1024

// Read is what somebody presented to a reader, without the terminator and what the reader puts around it. A presentation with
// printable content is one Read, whatever it is, so that the visitor gets one answer; what nobody presented is none.
type Read struct {
	Data   []byte    // 1 to MaxFrame bytes, owned by the receiver; may be anything
	At     time.Time // when its last byte arrived, with a monotonic reading
	Reader string    // the reader's name in the config, for example "front"
}

// LogValue tells the length only: what was read is never logged.
func (r Read) LogValue() slog.Value {
	return slog.GroupValue(slog.String("reader", r.Reader), slog.Int("bytes", len(r.Data)))
}

// Reader is a device that delivers frames.
type Reader interface {
	// Run opens the device and delivers frames until ctx ends (it returns ctx.Err() within 200 ms) or the device is lost
	// (it closes it and returns an error wrapping [ErrLost] or [ErrUnavailable]). A supervisor calls Run again. emit is
	// called from one goroutine at a time and must not be called after Run has returned.
	Run(ctx context.Context, emit func(Read)) error
	Checker
	// String names the device for people, for example "serial /dev/ttyACM0 (front)".
	String() string
}

// Returner is implemented by readers whose device can be waited for: Returned gives a channel that gets a value soon after
// something came, or was permitted, where the device is looked for, until ctx ends. It may get more values than that. Whoever
// supervises the reader then need not wait before it calls Run again, and the first code shown to a reader that was plugged
// in is read.
type Returner interface {
	Returned(ctx context.Context) (<-chan struct{}, error)
}

// Indicator is a device that shows something to the visitor: a light, a voice, a gate relay.
type Indicator interface {
	// Show acts on a cue. It returns when the cue is under way, within one second, or with an error. The cue of a later
	// call replaces an earlier one still under way.
	Show(ctx context.Context, c Cue) error
	// Halt brings the device to its safe state and releases it. No other method is called after it.
	Halt() error
	String() string
}

// Checker tells whether a device would work, without using it. It is asked twice a second, must not block, and returns
// nil when all is well. The error text is shown to the technician. Every reader is one; an indicator may be.
type Checker interface{ Check() error }

// Switchable is implemented by readers that can be told to stop reading, so that a gate that is out of service does not
// invite anyone to show a code. SetActive records the wish, never blocks and may be called at any time, before Run too;
// the device follows within a second, and again each time it was reopened. A reader begins active. Frames that arrive
// while it is inactive are delivered all the same. It returns an error if the device has no means for it.
type Switchable interface {
	SetActive(ctx context.Context, on bool) error
}

// Idler is implemented by indicators that can show a colour while no cue is under way, so that a gate that is out of
// service is seen from afar. SetIdle records the wish and never blocks; it may be called at any time before Halt, and as
// often as one likes. The device follows within a second, after the Hold of a cue under way. It begins [Dark].
type Idler interface{ SetIdle(l Light) }

// The sentinels a supervisor or the health page branches on; drivers wrap them with words.
var (
	ErrUnavailable = errors.New("device is not available")        // cannot be opened: absent, no permission, in use
	ErrLost        = errors.New("device was lost while in use")   // it worked, then it went away
	ErrGarbled     = errors.New("device delivers damaged data")   // bytes arrive but no code: its settings are wrong
	ErrTurnedAway  = errors.New("somebody else was turned away")  // the device works; a program that is not to use it tried to
	ErrNotInBuild  = errors.New("this build has no such support") // compiled out, for example voice without cgo
)

// Light is the colour a light shows.
type Light uint8

const (
	Dark Light = iota
	Green
	Amber
	Red
)

// String returns "dark", "green", "amber" or "red".
func (l Light) String() string {
	switch l {
	case Green:
		return "green"
	case Amber:
		return "amber"
	case Red:
		return "red"
	default:
		return "dark"
	}
}

// Cue is what an indicator is told to do. It says nothing of why.
type Cue struct {
	Light Light         // the colour to show, for Hold
	Hold  time.Duration // how long light and words stay, from 0 to 10 s
	Clips []string      // names of the clips to play one after the other, for example "tone/green", "ko/admitted"
	Relay bool          // whether the gate's relay is to be pulsed once
	Lane  string        // the reader's name for which it is meant; indicators of another lane do not get it
	Began time.Time     // when the last byte of what caused it arrived, with a monotonic reading; for measuring only
	By    time.Time     // with a monotonic reading: from then on it is not begun, nor the relay pulsed; zero for no limit
}

// Late reports whether the cue may no longer be begun.
func (c Cue) Late(now time.Time) bool { return !c.By.IsZero() && !now.Before(c.By) }
