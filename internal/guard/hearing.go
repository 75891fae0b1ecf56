package guard

import (
	"maps"
	"time"
)

// remembered is for how much running time a word counts.
const remembered = Proof

// Hear takes in that source says, through via, that it is at least at: an issuer by a code that a gate read while it knew
// the time. A source may be wrong, and so may what its words came through, and both may lie: it counts what two sources said
// through two different ways.
func (g *Clock) Hear(source, via string, at time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	elapsed := g.opts.Elapsed()
	g.hearing.hear(source, word{via: via, zero: at.Round(0).Add(-elapsed), heard: elapsed})
}

// Agree takes in that sources independent of this clock and of each other agree that it is at least at.
func (g *Clock) Agree(at time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	elapsed := g.opts.Elapsed()
	g.hearing.common = word{zero: at.Round(0).Add(-elapsed), heard: elapsed}
}

// maxSources bounds what is remembered. Where sources can be made up, those who came first are heard and no others.
const maxSources = 64

// hearing is what others have said. It is not kept over restarts.
type hearing struct {
	words  map[string]*[2]word // by source: its latest times, through two different ways
	common word                // of Agree; not set if its zero is not
}

// word is a time that was named. zero is the real time at which the running time was 0 if it was true at the moment it was
// heard; later if the word was older.
type word struct {
	via   string
	zero  time.Time
	heard time.Duration // running time
}

func (w word) holds(since time.Duration) bool { return !w.zero.IsZero() && w.heard >= since }

func (h *hearing) hear(source string, w word) {
	if h.words == nil {
		h.words = map[string]*[2]word{}
	}
	since := w.heard - remembered
	kept := h.words[source]
	if kept == nil {
		if len(h.words) >= maxSources {
			maps.DeleteFunc(h.words, func(_ string, old *[2]word) bool { return !old[0].holds(since) && !old[1].holds(since) })
		}
		if len(h.words) >= maxSources {
			return
		}
		kept = &[2]word{}
		h.words[source] = kept
	}
	lower := 0 // the one that a word through a third way may take the place of
	for i := range kept {
		k := &kept[i]
		if k.via == w.via && !k.zero.IsZero() {
			switch {
			case !k.holds(since) || w.zero.After(k.zero):
				*k = w
			case !w.zero.Before(k.zero.Add(-slack)):
				k.heard = w.heard
			}
			return
		}
		if !k.holds(since) || kept[lower].holds(since) && k.zero.Before(kept[lower].zero) {
			lower = i
		}
	}
	if k := &kept[lower]; !k.holds(since) || w.zero.After(k.zero) {
		*k = w
	}
}

// agreed returns the latest time that others agree on, of what was heard since that running time and is not forgotten; zero
// if there is none. The caller holds mu.
func (g *Clock) agreed(since time.Duration) time.Time {
	since = max(since, g.last-remembered)
	var best time.Time
	if c := g.hearing.common; c.holds(since) {
		best = c.zero
	}
	for a, words := range g.hearing.words {
		for b, others := range g.hearing.words {
			if a >= b {
				continue
			}
			for _, w := range words {
				for _, o := range others {
					if at := earlier(w.zero, o.zero); w.via != o.via && w.holds(since) && o.holds(since) && at.After(best) {
						best = at
					}
				}
			}
		}
	}
	if best.IsZero() {
		return best
	}
	return best.Add(g.last)
}
