package clock

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kipass/kipass/protocol/token"
)

// Real times are compared as zeros: the real time at which the monotonic clock stood at zero. Two sources that were heard
// at different moments agree if their zeros do.

// vote is where an independent source puts the zero.
type vote struct {
	source   string
	from, to time.Time
}

// beyond returns how far t lies after the span of the vote, negative for before it, 0 for within.
func (v vote) beyond(t time.Time) time.Duration {
	switch {
	case t.After(v.to):
		return t.Sub(v.to)
	case t.Before(v.from):
		return t.Sub(v.from)
	}
	return 0
}

// agreement is what the most sources have in common: where all of them can put the zero.
type agreement struct {
	vote
	sources  []string
	disputed bool // as many others agree on something else
}

// holds reports whether at least two sources agree, and no more on anything else: one alone is only its own word.
func (a agreement) holds() bool { return len(a.sources) >= 2 && !a.disputed }

// middle is the best guess within the agreement.
func (a agreement) middle() time.Time { return a.from.Add(a.to.Sub(a.from) / 2) }

// agree finds the span that lies within the most votes, as NTP tells truechimers from falsetickers (Marzullo's algorithm,
// RFC 5905 section 11.2.1); the earliest of several.
func agree(votes []vote) agreement {
	a := largest(votes)
	rest := slices.DeleteFunc(slices.Clone(votes), func(v vote) bool { return slices.Contains(a.sources, v.source) })
	a.disputed = len(largest(rest).sources) == len(a.sources)
	return a
}

// largest tries each beginning of a vote: where the most are in common, one of them begins.
func largest(votes []vote) (best agreement) {
	for _, begin := range votes {
		a := agreement{vote: begin}
		for _, v := range votes {
			if v.beyond(begin.from) != 0 {
				continue
			}
			a.sources = append(a.sources, v.source)
			if v.to.Before(a.to) {
				a.to = v.to
			}
		}
		if d := len(a.sources) - len(best.sources); d > 0 || d == 0 && a.from.Before(best.from) {
			best = a
		}
	}
	best.source = strings.Join(best.sources, ", ")
	return best
}

// against returns what the most of those agree on who do not agree with a clock that puts the zero there, give or take
// skew, and how many do agree with it.
func against(votes []vote, zero time.Time, skew time.Duration) (others agreement, with int) {
	var rest []vote
	for _, v := range votes {
		if v.beyond(zero).Abs() <= skew {
			with++
		} else {
			rest = append(rest, v)
		}
	}
	return largest(rest), with
}

// witness is what an issuer's codes say of the time. A code read within its life puts the zero at its time of issue or up
// to its life later. Somebody may show an old code, or one made ahead, so a single one proves nothing: an issuer has a vote
// while its two newest codes agree. Whatever it says, it is one vote.
type witness struct {
	codes [2]struct { // the newest first
		iat  time.Time
		zero time.Time
	}
	heard time.Duration // monotonic time of the newest
}

// hear takes in a code that was read at mono. The same code read again says nothing new.
func (w *witness) hear(iat time.Time, mono time.Duration) {
	if iat.Equal(w.codes[0].iat) || iat.Equal(w.codes[1].iat) {
		return
	}
	w.codes[1] = w.codes[0]
	w.codes[0].iat, w.codes[0].zero = iat, iat.Round(0).Add(-mono)
	w.heard = mono
}

// vote returns where the issuer puts the zero; ok is false if it is silent.
func (w *witness) vote(issuer string, mono time.Duration) (v vote, ok bool) {
	first, second := w.codes[0].zero, w.codes[1].zero
	if w.codes[1].iat.IsZero() || mono-w.heard > remembered {
		return vote{}, false
	}
	if first.After(second) {
		first, second = second, first
	}
	v = vote{source: issuer, from: second.Add(-margin), to: first.Add(token.Lifetime + margin)}
	return v, !v.to.Before(v.from)
}

// votes are all that is said of the time at mono by sources that do not depend on each other.
func (c *Clock) votes(kernel anchor, mono time.Duration) []vote {
	var votes []vote
	for _, a := range []anchor{kernel, c.server} {
		if a.source != "" && mono-a.seen <= remembered {
			reach := margin + a.extra + a.drift(mono)
			votes = append(votes, vote{source: a.source, from: a.zero().Add(-reach), to: a.zero().Add(reach)})
		}
	}
	for _, issuer := range slices.Sorted(maps.Keys(c.witnesses)) {
		if v, ok := c.witnesses[issuer].vote(issuer, mono); ok {
			votes = append(votes, v)
		}
	}
	return votes
}
