// Package clock tells how well the gate knows the time. A code is fresh for 15 seconds, and a Raspberry Pi has no clock
// while it is off, so every reading comes with a state and with the skew allowance δ it justifies.
//
// Once a source has vouched for the time, the package counts on from there by the monotonic clock, which nobody can set;
// the uncertainty grows by [Drift]. Nothing here sets the system's clock, so no capability is needed.
package clock

import (
	"sync"
	"time"

	"github.com/kipass/kipass/protocol/visit"
)

const (
	// DefaultSkew is δ while synced.
	DefaultSkew = 2 * time.Second
	// MaxConfigSkew is the most a config may ask for as δ while synced.
	MaxConfigSkew = 10 * time.Second
	// MaxSkew is the largest δ; a clock that would need more is untrusted. It is also the δ of an untrusted reading.
	MaxSkew = 30 * time.Second
	// Drift is how fast uncertainty grows without a source, in parts per million of the time passed.
	Drift = 50

	kernelError    = time.Second      // the kernel's own bound of its error, below which it is believed
	serverHolds    = time.Hour        // how long the server's time keeps the clock synced
	roundTrip      = 2 * time.Second  // half of it is within the allowance; half of what is more is added to δ
	longestTrip    = 20 * time.Second // a slower answer tells nothing about the time
	rtcUncertainty = 8 * time.Second  // of a battery-kept clock after the device was off
	issuerReach    = time.Hour        // how far one issuer alone may push the floor
	stepLimit      = time.Second      // wall and monotonic clock may part by this between two looks,
	slewLimit      = 600              // and by these parts per million of the time between: the kernel slews at 500
)

// Reading is the gate's knowledge of the time at one moment.
type Reading struct {
	Now    time.Time        // best estimate of the real time
	State  visit.ClockState // how good it is
	Skew   time.Duration    // δ: the allowance for judging a code at Now
	Floor  time.Time        // real time is hardly earlier than this, zero if nothing is known; to be kept across restarts
	Source string           // what the time rests on: "kernel", "server", "rtc" or "none"
}

// Latest returns the best estimate, or what is known for certain where that is later.
func (r Reading) Latest() time.Time {
	if r.Floor.After(r.Now) {
		return r.Floor
	}
	return r.Now
}

// KernelTime is what the kernel says of its clock.
type KernelTime struct {
	MaxError time.Duration // bound of the error; it grows by 500 µs per second without an NTP daemon's word
}

// Options of a clock. The functions are the sources; nil means the system's.
type Options struct {
	Skew      time.Duration              // δ while synced, 0 to MaxConfigSkew; cut to it
	Floor     time.Time                  // newest genuine time of issue known from before the restart, zero for none
	Now       func() time.Time           // the wall clock
	Monotonic func() time.Duration       // a clock that nobody sets and that runs on during suspend (CLOCK_BOOTTIME)
	Kernel    func() (KernelTime, error) // adjtimex(2)
	RTC       func() bool                // whether the kernel took the wall clock's time from a battery-kept clock at boot
	Steps     StepNotifier               // tells of wall clock steps as they happen
	LookEvery time.Duration              // how often Run looks at the kernel; 0 stands for 16 s

	// OnEvidence is told the floor after each genuine code, to be kept across restarts. It must not block; nil is told nothing.
	OnEvidence func(floor time.Time)
}

// Clock is safe for concurrent use.
type Clock struct {
	opts Options

	mu     sync.Mutex
	anchor anchor
	jumped bool          // the wall clock was stepped since a source last vouched for the time
	wall   time.Time     // wall clock at the last look
	mono   time.Duration // monotonic clock at the last look
	floor  floor
}

// anchor is a moment for which a source vouched.
type anchor struct {
	source string // empty for none
	at     time.Time
	mono   time.Duration
	extra  time.Duration // uncertainty of the moment itself beyond what Options.Skew covers
	seen   time.Duration // monotonic time when the source last confirmed it
}

func (a anchor) estimate(mono time.Duration) time.Time { return a.at.Add(mono - a.mono) }

// drift is the uncertainty that has grown since.
func (a anchor) drift(mono time.Duration) time.Duration { return (mono - a.mono) / 1_000_000 * Drift }

// Sources.
const (
	sourceKernel = "kernel"
	sourceServer = "server"
	sourceRTC    = "rtc"
	sourceNone   = "none"

	issuerPrefix = "issuer " // before the names of issuers among the floor's sources
)

// New returns a clock that has looked at the kernel once.
func New(opts Options) *Clock {
	opts.Skew = min(max(opts.Skew, 0), MaxConfigSkew)
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Monotonic == nil {
		opts.Monotonic = boottime
	}
	if opts.Kernel == nil {
		opts.Kernel = kernelTime
	}
	if opts.RTC == nil {
		opts.RTC = rtcSetsClock
	}
	if opts.LookEvery == 0 {
		opts.LookEvery = lookEvery
	}
	if opts.Steps == nil {
		opts.Steps = notifySteps
	}
	c := &Clock{opts: opts, floor: newFloor(opts.Floor)}
	c.wall, c.mono = c.look()
	if opts.RTC() && !c.wall.Before(opts.Floor) {
		c.anchor = anchor{source: sourceRTC, at: c.wall, mono: c.mono, extra: rtcUncertainty, seen: c.mono}
	}
	c.Read()
	return c
}

// look reads both clocks.
func (c *Clock) look() (wall time.Time, mono time.Duration) {
	return c.opts.Now().Round(0), c.opts.Monotonic()
}

// Read judges the clock now.
func (c *Clock) Read() Reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read()
}

func (c *Clock) read() Reading {
	wall, mono := c.look()
	passed := mono - c.mono
	if off := wall.Sub(c.wall) - passed; off.Abs() > stepLimit+passed/1_000_000*slewLimit {
		c.jumped = true
	}
	c.wall, c.mono = wall, mono
	if k, err := c.opts.Kernel(); err == nil && k.MaxError >= 0 && k.MaxError < kernelError {
		c.jumped = false
		c.anchor = anchor{source: sourceKernel, at: wall, mono: mono, seen: mono}
		c.floor.support(sourceKernel, wall)
		return Reading{Now: wall, State: visit.ClockSynced, Skew: c.opts.Skew, Floor: c.floor.time(), Source: sourceKernel}
	}
	a := c.anchor
	r := Reading{Now: wall, State: visit.ClockUntrusted, Skew: MaxSkew, Floor: c.floor.time(), Source: sourceNone}
	if a.source != "" {
		r.Now, r.Source = a.estimate(mono), a.source
		skew := c.opts.Skew + a.extra + a.drift(mono)
		switch {
		case c.jumped || skew > MaxSkew:
		case a.source == sourceServer && mono-a.seen <= serverHolds:
			r.State, r.Skew = visit.ClockSynced, skew
		case c.floor.confirmed().After(r.Now.Add(skew)):
			// Two who cannot have agreed on it say that it is later than this clock can be.
		default:
			r.State, r.Skew = visit.ClockHoldover, skew
		}
	}
	if r.State == visit.ClockUntrusted && r.Now.Before(r.Floor) {
		r.Now = r.Floor
	}
	return r
}

// ServerTime takes in that the visit server's clock showed t when it made an answer that has just arrived, rtt after the
// request was sent. The server's connection must be authentic. A kernel that is synced is believed rather than the server.
func (c *Clock) ServerTime(t time.Time, rtt time.Duration) {
	if rtt < 0 || rtt > longestTrip {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.floor.support(sourceServer, t)
	r := c.read()
	if r.Source == sourceKernel && r.State == visit.ClockSynced {
		return
	}
	c.jumped = false
	next := anchor{source: sourceServer, at: t.Round(0).Add(rtt / 2), mono: c.mono, extra: max(0, rtt-roundTrip) / 2, seen: c.mono}
	if old := c.anchor; old.source == sourceServer {
		known := old.extra + old.drift(c.mono)
		differ := old.estimate(c.mono).Sub(next.at).Abs()
		if known < next.extra && differ <= known+next.extra+roundTrip {
			old.seen = c.mono // a slow answer confirms what a quick one told more exactly
			next = old
		}
	}
	c.anchor = next
}

// Evidence takes in that a genuine code of issuer carries the time of issue iat: real time is at least that. An issuer
// alone can push the floor no more than an hour past the newest time that another issuer or source supports.
func (c *Clock) Evidence(issuer string, iat time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.floor.support(issuerPrefix+issuer, iat)
	if c.opts.OnEvidence != nil {
		c.opts.OnEvidence(c.read().Floor)
	}
}

// MayBeFresh is all that can be said of a genuine code's age under an untrusted clock: whether a code of issuer with time
// of issue iat and the given life may still be valid, because it is not older than what is known for certain. That is what
// two independent sources support, or the issuer's own newer codes: an issuer that dates its codes ahead of time
// shuts out nobody's codes but its own. Call it before [Clock.Evidence] of the same code, or after: the answer is the same.
func (c *Clock) MayBeFresh(issuer string, iat time.Time, life time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.floor.under(issuerPrefix + issuer).After(iat.Add(life + MaxSkew))
}
