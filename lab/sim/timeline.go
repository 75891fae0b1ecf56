package sim

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// stretch is a time for which something holds; to is zero while it still does.
type stretch struct{ from, to time.Time }

// timeline notes when each of several things held. It is safe for concurrent use.
type timeline struct {
	mu        sync.Mutex
	stretches map[string][]stretch
}

func newTimeline() *timeline { return &timeline{stretches: map[string][]stretch{}} }

// note takes in whether something holds from a moment on.
func (l *timeline) note(what string, holds bool, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set(what, holds, at)
}

func (l *timeline) set(what string, holds bool, at time.Time) {
	s := l.stretches[what]
	switch open := len(s) > 0 && s[len(s)-1].to.IsZero(); {
	case holds && !open:
		l.stretches[what] = append(s, stretch{from: at})
	case !holds && open:
		s[len(s)-1].to = at
	}
}

// moment takes in that something held, and did not last.
func (l *timeline) moment(what string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set(what, true, at)
	l.set(what, false, at)
}

// end ends all that still holds.
func (l *timeline) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for what := range l.stretches {
		l.set(what, false, time.Now())
	}
}

// of returns the stretches of something; one that still holds ends now.
func (l *timeline) of(what string) []stretch {
	l.mu.Lock()
	defer l.mu.Unlock()
	stretches := slices.Clone(l.stretches[what])
	if n := len(stretches); n > 0 && stretches[n-1].to.IsZero() {
		stretches[n-1].to = time.Now()
	}
	return stretches
}

// since returns when something that holds began.
func (l *timeline) since(what string) (at time.Time, holds bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stretches[what]
	if len(s) == 0 || !s[len(s)-1].to.IsZero() {
		return time.Time{}, false
	}
	return s[len(s)-1].from, true
}

// names lists what ever held.
func (l *timeline) names() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.stretches))
}

// prolonged returns the stretches, each ending so much later.
func prolonged(stretches []stretch, by time.Duration) []stretch {
	longer := slices.Clone(stretches)
	for n := range longer {
		longer[n].to = longer[n].to.Add(by)
	}
	return longer
}

// covered reports whether stretches leave nothing of a stretch out.
func covered(s stretch, by []stretch) bool {
	for at := s.from; ; {
		reach, met := at, false
		for _, b := range by {
			if !at.Before(b.from) && !at.After(b.to) {
				met = true
				if b.to.After(reach) {
					reach = b.to
				}
			}
		}
		switch {
		case !met:
			return false
		case !reach.Before(s.to):
			return true
		case !reach.After(at):
			return false
		}
		at = reach
	}
}

// during returns what two stretches have in common; ok is false if that is nothing.
func during(a, b stretch) (s stretch, ok bool) {
	s = a
	if b.from.After(s.from) {
		s.from = b.from
	}
	if b.to.Before(s.to) {
		s.to = b.to
	}
	return s, !s.to.Before(s.from)
}
