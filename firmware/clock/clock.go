// Package clock tells how well the gate knows the time. A code is fresh for 15 seconds, and a Raspberry Pi has no clock
// while it is off, so every reading comes with a state and with the skew allowance δ it justifies.
//
// Once a source has vouched for the time, the package counts on from there by the monotonic clock, which nobody can set;
// the uncertainty grows by [Drift]. Nothing here sets the system's clock, so no capability is needed.
//
// # Evidence
//
// Kernel, visit server and each issuer are independent sources; any of them can be wrong, ahead or behind. An issuer speaks
// through its genuine codes: two successive ones that agree are its vote (witness). What two sources agree on is evidence
// (agree); of several such groups the largest counts, and of two as large none. Evidence works in both directions, and nothing that one
// source said is kept for ever:
//
//   - The floor, which is kept across restarts, is moved by agreement alone, up or down; a synced kernel that has no
//     agreement against it lowers it. It is ignored while the clock is trusted.
//   - A kernel that is synced is believed up to an hour (reach) from what others agree on: within that, disagreement is
//     told (Reading.Doubt) and changes nothing.
//   - The server and the clock in holdover are believed until at least two, and not fewer than agree with them, agree on
//     something else. While nobody agrees on anything, they may not be off what was agreed on earlier in the same run.
//   - After a restart nothing is known of the time off: a single source may then be ahead of the floor by offReach,
//     but the server and a battery clock not behind it.
//   - A battery clock that nothing supports is a suspicion (Reading.Suspect): it can vouch for a code, not condemn one.
//
// What ends records for good needs more than a trusted clock (Reading.Confirmed): that two sources agree with it now, or did
// since the start and it has kept to the running time.
//
// One issuer alone, whatever dates it signs, changes none of this for others.
package clock

import (
	"slices"
	"sync"
	"time"

	"github.com/kipass/kipass/internal/kerneltime"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
)

const (
	// DefaultSkew is δ while synced.
	DefaultSkew = 2 * time.Second
	// MaxConfigSkew is the most a config may ask for as δ while synced.
	MaxConfigSkew = 10 * time.Second
	// MaxSkew is the largest δ; a clock that would need more is untrusted. It is also the δ of an untrusted reading.
	MaxSkew = token.MaxSkew
	// Drift is how fast uncertainty grows without a source, in parts per million of the time passed.
	Drift = 50

	kernelError    = time.Second      // the kernel's own bound of its error, below which it is believed
	serverHolds    = time.Hour        // how long the server's time keeps the clock synced
	roundTrip      = 2 * time.Second  // half of it is within the allowance; half of what is more is added to δ
	longestTrip    = 20 * time.Second // a slower answer tells nothing about the time
	rtcUncertainty = 8 * time.Second  // of a battery-kept clock after the device was off
	stepLimit      = time.Second      // wall and monotonic clock may part by this between two looks,
	slewLimit      = 600              // and by these parts per million of the time between: the kernel slews at 500

	margin     = 2 * time.Second      // by which the clocks of sources that agree may differ
	remembered = 12 * time.Hour       // how long a source's word is a vote; the monotonic clock drifts by margin meanwhile
	reach      = time.Hour            // how far a synced kernel is believed past what others agree on
	offReach   = 400 * 24 * time.Hour // and any source after a restart: a device may lie in a drawer for a year
)

// Sources.
const (
	SourceKernel = "kernel"
	SourceServer = "server"
	SourceRTC    = "rtc"
	SourceNone   = "none"
)

// Reading is the gate's knowledge of the time at one moment.
type Reading struct {
	Now       time.Time        // best estimate of the real time
	State     visit.ClockState // how good it is
	Skew      time.Duration    // δ: the allowance for judging a code at Now
	Floor     time.Time        // real time is hardly earlier than this, zero if nothing is known; not after Now
	Source    string           // what the time rests on
	Suspect   bool             // it rests on a battery clock alone, which nothing supports and nothing contradicts
	Confirmed bool             // it is trusted, and two independent sources agree with it, or did since the start and it kept to the running time
	Doubt     string           // what contradicts the clock, or made it untrusted; empty for nothing
}

// Unproven returns the reading as one of a clock that is not trusted.
func (r Reading) Unproven() Reading {
	r.State, r.Skew, r.Suspect, r.Confirmed = visit.ClockUntrusted, MaxSkew, false, false
	return r
}

// Passed returns the time by which something can be said to be late: a trusted clock's, or else what has passed for certain;
// zero if nothing is known.
func (r Reading) Passed() time.Time {
	if r.State == visit.ClockUntrusted || r.Suspect {
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
	Floor     time.Time                  // what OnEvidence was told last before the restart, zero for none
	Now       func() time.Time           // the wall clock
	Monotonic func() time.Duration       // a clock that nobody sets and that runs on during suspend (CLOCK_BOOTTIME)
	Kernel    func() (KernelTime, error) // adjtimex(2)
	RTC       func() bool                // whether the kernel took the wall clock's time from a battery-kept clock at boot
	Steps     StepNotifier               // tells of wall clock steps as they happen
	LookEvery time.Duration              // how often Run looks at the kernel; 0 stands for 16 s

	// OnEvidence is told after each genuine code what time has passed for certain, to be kept across restarts. It may be
	// earlier than what was told before. It must not block; nil is told nothing.
	OnEvidence func(floor time.Time)
}

// Clock is safe for concurrent use.
type Clock struct {
	opts Options

	mu        sync.Mutex
	anchor    anchor
	jumped    bool          // the wall clock was stepped since a source last vouched for the time
	wall      time.Time     // wall clock at the last look
	mono      time.Duration // monotonic clock at the last look
	server    anchor        // what the server said last, believed or not
	witnesses []*witness    // ordered by issuer
	known     known
}

// anchor is a moment for which a source vouched.
type anchor struct {
	source string // empty for none
	at     time.Time
	mono   time.Duration
	extra  time.Duration // uncertainty of the moment itself beyond what Options.Skew covers
	seen   time.Duration // monotonic time when the source last confirmed it
}

// zero is the real time at which the monotonic clock stood at zero.
func (a anchor) zero() time.Time { return a.at.Add(-a.mono) }

func (a anchor) estimate(mono time.Duration) time.Time { return a.at.Add(mono - a.mono) }

// drift is the uncertainty that has grown since.
func (a anchor) drift(mono time.Duration) time.Duration { return (mono - a.mono) / 1_000_000 * Drift }

// New returns a clock that has looked at the kernel once.
func New(opts Options) *Clock {
	opts.Skew = min(max(opts.Skew, 0), MaxConfigSkew)
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Monotonic == nil {
		opts.Monotonic = kerneltime.Boottime
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
	c := &Clock{opts: opts}
	c.wall, c.mono = c.look()
	if !opts.Floor.IsZero() {
		c.known = known{zero: opts.Floor.Round(0).Add(-c.mono), mono: c.mono}
	}
	if opts.RTC() {
		c.anchor = anchor{source: SourceRTC, at: c.wall, mono: c.mono, extra: rtcUncertainty, seen: c.mono}
	}
	c.Read()
	return c
}

// look reads both clocks.
func (c *Clock) look() (wall time.Time, mono time.Duration) {
	return c.opts.Now().Round(0), c.opts.Monotonic()
}

// ServerTime takes in that the visit server's clock showed t when it made an answer that has just arrived, rtt after the
// request was sent. The server's connection must be authentic. A kernel that is synced is believed rather than the server.
func (c *Clock) ServerTime(t time.Time, rtt time.Duration) {
	if rtt < 0 || rtt > longestTrip {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, mono := c.look()
	next := anchor{source: SourceServer, at: t.Round(0).Add(rtt / 2), mono: mono, extra: max(0, rtt-roundTrip) / 2, seen: mono}
	if old := c.server; old.source != "" {
		uncertain := old.extra + old.drift(mono)
		differ := old.estimate(mono).Sub(next.at).Abs()
		if uncertain < next.extra && differ <= uncertain+next.extra+roundTrip {
			old.seen = mono // a slow answer confirms what a quick one told more exactly
			next = old
		}
	}
	c.server = next
	r := c.read()
	if r.Source == SourceKernel && r.State == visit.ClockSynced {
		return
	}
	if c.doubt(next, mono) != "" && c.anchor.source != "" && c.doubt(c.anchor, mono) == "" {
		return // what is known is better
	}
	c.jumped, c.anchor = false, next
}

// Evidence takes in that a genuine code of issuer with the time of issue iat was read, so long ago.
func (c *Clock) Evidence(issuer string, iat time.Time, ago time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, found := c.findWitness(issuer)
	if !found {
		c.witnesses = slices.Insert(c.witnesses, at, &witness{issuer: issuer})
	}
	_, mono := c.look()
	c.witnesses[at].hear(iat, mono-ago)
	c.read()
	if c.opts.OnEvidence != nil && !c.known.zero.IsZero() {
		c.opts.OnEvidence(c.known.at(c.mono))
	}
}

// MayBeFresh is all that can be said of a genuine code's age under an untrusted clock: whether a code of issuer with time
// of issue iat may still be valid, because it is not older than what is known for certain. That is what two independent
// sources agreed on, or the issuer's own newer codes: an issuer that dates its codes ahead of time shuts out nobody's
// codes but its own. Call it after [Clock.Evidence] of the same code.
func (c *Clock) MayBeFresh(issuer string, iat time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, mono := c.look()
	latest := iat.Add(token.Lifetime + MaxSkew)
	if c.known.at(mono).Add(-c.known.drift(mono)).After(latest) {
		return false
	}
	at, found := c.findWitness(issuer)
	if !found {
		return true
	}
	v, ok := c.witnesses[at].vote(mono)
	return !ok || !v.from.Add(mono).After(latest)
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

	var kernel anchor
	if k, err := c.opts.Kernel(); err == nil && k.MaxError >= 0 && k.MaxError < kernelError {
		kernel = anchor{source: SourceKernel, at: wall, mono: mono, seen: mono}
	}
	votes := c.votes(kernel, mono)
	agreed := agree(votes)
	c.known.learn(agreed, mono)
	doubt := ""
	if kernel.source != "" {
		var believed bool
		if believed, doubt = c.judgeKernel(kernel, votes); believed {
			c.jumped, c.anchor = false, kernel
			return c.finish(Reading{
				Now: wall, State: visit.ClockSynced, Skew: c.opts.Skew, Source: SourceKernel, Doubt: doubt,
			}, agreed)
		}
	}
	return c.finish(c.count(doubt), agreed)
}
