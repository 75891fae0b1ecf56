package clock

import (
	"fmt"
	"time"

	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
)

// judgeKernel tells whether a synced kernel is believed, and what speaks against it.
func (c *Clock) judgeKernel(kernel anchor, votes []vote) (believed bool, doubt string) {
	zero, mono := kernel.zero(), kernel.mono
	others, with := against(votes, zero, c.opts.Skew)
	if len(others.sources) >= 2 && len(others.sources) >= with {
		off := others.beyond(zero)
		return off.Abs() <= reach || len(others.sources) == with, contradiction(SourceKernel, off, others.names())
	}
	if with >= 2 {
		return true, ""
	}
	if off := c.known.ahead(zero, reach, mono); off > 0 {
		return false, unsupported(SourceKernel, off)
	}
	c.known.lower(zero, mono)
	if s := c.server; s.source != "" && mono-s.seen <= remembered {
		if off := zero.Sub(s.zero()); off.Abs() > MaxSkew+s.extra+s.drift(mono) {
			return true, contradiction(SourceKernel, off, SourceServer)
		}
	}
	return true, ""
}

// count goes on from the anchor by the monotonic clock. doubt is why the kernel is not believed, if it says anything.
func (c *Clock) count(doubt string) Reading {
	a, mono := c.anchor, c.mono
	r := Reading{Now: c.wall, Source: SourceNone, Doubt: doubt}.Unproven()
	if a.source == "" {
		return r
	}
	r.Now, r.Source = a.estimate(mono), a.source
	skew := c.opts.Skew + a.extra + a.drift(mono)
	if c.jumped || skew > MaxSkew {
		return r
	}
	if against := c.doubt(a, mono); against != "" {
		r.Doubt = against
		return r
	}
	r.State, r.Skew = visit.ClockHoldover, skew
	switch a.source {
	case SourceServer:
		if mono-a.seen <= serverHolds {
			r.State = visit.ClockSynced
		}
	case SourceRTC:
		r.Suspect = !c.supported(a, skew)
	}
	if r.Doubt == "" && c.server != a && c.server.source != "" && mono-c.server.seen <= remembered {
		r.Doubt = c.doubt(c.server, mono) // it was heard since, and is not what the clock goes by
	}
	return r
}

// doubt returns what contradicts an anchor that is not the kernel's present word, empty for nothing.
func (c *Clock) doubt(a anchor, mono time.Duration) string {
	zero, skew := a.zero(), c.opts.Skew+a.extra+a.drift(mono)
	others, with := against(c.votes(anchor{}, mono), zero, skew)
	if len(others.sources) >= 2 && len(others.sources) >= with {
		return contradiction(a.source, others.beyond(zero), others.names())
	}
	if with >= 2 {
		return ""
	}
	if off := c.known.ahead(zero, token.Lifetime+MaxSkew, mono); off > skew {
		return unsupported(a.source, off)
	}
	if off := c.known.behind(zero, mono); off > skew {
		return fmt.Sprintf("%s: %v behind what is known for certain", a.source, roughly(off))
	}
	return ""
}

// supported reports whether any independent source agrees with an anchor.
func (c *Clock) supported(a anchor, skew time.Duration) bool {
	_, with := against(c.votes(anchor{}, c.mono), a.zero(), skew)
	return with > 0
}

// finish adds to a reading what follows from the evidence.
func (c *Clock) finish(r Reading, agreed agreement) Reading {
	r.Floor = c.known.at(c.mono)
	if r.State != visit.ClockUntrusted {
		zero := r.Now.Add(-c.mono)
		if len(agreed.sources) >= 2 {
			r.Confirmed = agreed.holds() && agreed.beyond(zero).Abs() <= r.Skew
		} else {
			r.Confirmed = r.Doubt == "" && !r.Suspect && c.known.bears(zero, c.mono)
		}
		if r.Floor.After(r.Now) {
			r.Floor = r.Now
		}
		return r
	}
	switch {
	case agreed.holds():
		r.Now = agreed.middle().Add(c.mono)
	case r.Now.Before(r.Floor), c.known.ahead(r.Now.Add(-c.mono), reach, c.mono) > 0:
		r.Now = r.Floor
	}
	return r
}

// contradiction says in words that a source is off what others agree on.
func contradiction(source string, off time.Duration, others string) string {
	where := "ahead of"
	if off < 0 {
		where = "behind"
	}
	return fmt.Sprintf("%s: %v %s what is said by %s", source, roughly(off.Abs()), where, others)
}

// unsupported says that a source is too far ahead to be believed alone.
func unsupported(source string, off time.Duration) string {
	return fmt.Sprintf("%s: %v further ahead of what was known than one source is believed", source, roughly(off))
}

// roughly rounds a duration for people, so that the words about it stay the same as it varies a little.
func roughly(d time.Duration) time.Duration {
	switch {
	case d < 2*time.Minute:
		return d.Round(10 * time.Second)
	case d < 2*time.Hour:
		return d.Round(5 * time.Minute)
	}
	return d.Round(time.Hour)
}
