package clock

import (
	"cmp"
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
	from, to time.Time
	sources  []string
	disputed bool // as many others agree on something else
}

// beyond returns how far t lies after what is agreed upon, negative for before it, 0 for within.
func (a agreement) beyond(t time.Time) time.Duration { return vote{from: a.from, to: a.to}.beyond(t) }

// names says who agrees.
func (a agreement) names() string { return strings.Join(a.sources, ", ") }

// holds reports whether at least two sources agree, and no more on anything else: one alone is only its own word.
func (a agreement) holds() bool { return len(a.sources) >= 2 && !a.disputed }

// middle is the best guess within the agreement.
func (a agreement) middle() time.Time { return a.from.Add(a.to.Sub(a.from) / 2) }

// agree finds the span that lies within the most votes, as NTP tells truechimers from falsetickers (Marzullo's algorithm,
// RFC 5905 section 11.2.1); the earliest of several.
func agree(votes []vote) agreement {
	a := largest(votes)
	rest := slices.DeleteFunc(slices.Clone(votes), func(v vote) bool { return v.beyond(a.from) == 0 })
	_, others := densest(rest)
	a.disputed = others == len(a.sources)
	return a
}

// largest returns what the most votes have in common, the zero value for no votes.
func largest(votes []vote) (best agreement) {
	begin, n := densest(votes)
	if n == 0 {
		return agreement{}
	}
	best = agreement{from: begin.from, to: begin.to, sources: make([]string, 0, n)}
	for _, v := range votes {
		if v.beyond(begin.from) != 0 {
			continue
		}
		best.sources = append(best.sources, v.source)
		if v.to.Before(best.to) {
			best.to = v.to
		}
	}
	return best
}

// densest tries each beginning of a vote, for where the most are in common one of them begins. It returns the vote that
// begins there, and how many are in common. A gate asks every second or so: nothing is allocated here.
func densest(votes []vote) (begin vote, most int) {
	for _, v := range votes {
		n := 0
		for _, other := range votes {
			if other.beyond(v.from) == 0 {
				n++
			}
		}
		if n > most || n == most && v.from.Before(begin.from) {
			begin, most = v, n
		}
	}
	return begin, most
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
	issuer string
	codes  [2]struct { // the newest first
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
func (w *witness) vote(mono time.Duration) (v vote, ok bool) {
	first, second := w.codes[0].zero, w.codes[1].zero
	if w.codes[1].iat.IsZero() || mono-w.heard > remembered {
		return vote{}, false
	}
	if first.After(second) {
		first, second = second, first
	}
	v = vote{source: w.issuer, from: second.Add(-margin), to: first.Add(token.Lifetime + margin)}
	return v, !v.to.Before(v.from)
}

// votes are all that is said of the time at mono by sources that do not depend on each other.
func (c *Clock) votes(kernel anchor, mono time.Duration) []vote {
	votes := make([]vote, 0, 2+len(c.witnesses))
	for _, a := range []anchor{kernel, c.server} {
		if a.source != "" && mono-a.seen <= remembered {
			reach := margin + a.extra + a.drift(mono)
			votes = append(votes, vote{source: a.source, from: a.zero().Add(-reach), to: a.zero().Add(reach)})
		}
	}
	for _, w := range c.witnesses {
		if v, ok := w.vote(mono); ok {
			votes = append(votes, v)
		}
	}
	return votes
}

// findWitness returns where among the witnesses an issuer's stands, or would.
func (c *Clock) findWitness(issuer string) (at int, found bool) {
	return slices.BinarySearchFunc(c.witnesses, issuer, func(w *witness, name string) int { return cmp.Compare(w.issuer, name) })
}
