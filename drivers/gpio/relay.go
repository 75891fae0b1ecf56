package gpio

import (
	"log/slog"
	"time"

	"github.com/kipass/kipass/drivers"
)

// Relay opens a gate with a pulse, as a [drivers.Indicator] and [drivers.Checker]. Each cue that asks for the relay gets
// one pulse. One that comes while a pulse or its cool-down lasts is served after it, unless the cue is late by then; of
// several that come in that time, one is, the last. The end of a pulse depends on nothing but this relay's own goroutine and line.
type Relay struct {
	actuator
	name string
}

// lateAfter is how much longer than asked for a pulse may last before it is reported.
const lateAfter = 100 * time.Millisecond

// NewRelay returns the relay, off, or an error if the options make no sense. A line that is not there is no error: it is
// tried again and again, and Check says what is wrong. Halt ends the relay.
func NewRelay(opts RelayOptions) (*Relay, error) { return newRelay(opts, openLine) }

func newRelay(opts RelayOptions, open opener) (*Relay, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	if opts.Pulse == 0 {
		opts.Pulse = DefaultPulse
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	b := newBank(open)
	out := b.add("relay", opts.Line)
	out.fleeting = true
	return &Relay{actuator: start(b, &latch{bank: b, out: out, pulse: opts.Pulse, coolDown: opts.CoolDown, log: opts.Logger}), name: opts.Name}, nil
}

// String returns "relay (gpio, NAME)".
func (r *Relay) String() string { return called("relay", r.name) }

// latch is what the goroutine of a Relay does.
type latch struct {
	*bank
	out             *output
	pulse, coolDown time.Duration
	log             *slog.Logger

	offAt   time.Time   // when the pulse under way ends; zero if none is
	readyAt time.Time   // when the next may begin
	pending bool        // whether one is to begin then
	next    drivers.Cue // which asked for that one
}

func (l *latch) show(c drivers.Cue, now time.Time) error {
	switch {
	case !c.Relay || c.Late(now):
		return nil
	case !l.offAt.IsZero() || now.Before(l.readyAt):
		l.pending, l.next = l.out.err == nil, c
		return l.out.err
	default:
		return l.fire(now)
	}
}

// fire begins a pulse. Its end is fixed before the line is set: however long that takes, it counts. A pulse that cannot
// begin is not made up for: a door that opens by itself later is worse than one that stays shut.
func (l *latch) fire(now time.Time) error {
	l.offAt = now.Add(l.pulse)
	err := l.set(l.out, true)
	if err != nil {
		l.offAt = time.Time{}
	}
	return err
}

func (l *latch) due() time.Time {
	if l.offAt.IsZero() && l.pending {
		return l.readyAt
	}
	return l.offAt
}

func (l *latch) tick(now time.Time) {
	if !l.offAt.IsZero() && !now.Before(l.offAt) {
		_ = l.set(l.out, false) // the bank keeps the fault, and opens the line anew, which switches it off
		off := time.Now()       // later than now if setting the line took its time: the cool-down begins only here
		if late := off.Sub(l.offAt); late > lateAfter {
			l.log.Warn("relay pulse lasted too long", "by", late.Round(time.Millisecond))
		}
		l.offAt, l.readyAt = time.Time{}, off.Add(l.coolDown)
	}
	if l.offAt.IsZero() && l.pending && !now.Before(l.readyAt) {
		l.pending = false
		if !l.next.Late(now) {
			_ = l.fire(now)
		}
	}
}
