package visitserver

import (
	"time"

	"github.com/kipass/kipass/internal/guard"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

// maxFuture is how far a time of visit may lie after the server's own time, whether the gate has proven it or the code's
// issuer signed it: no further than clocks are ever believed. Which of the two is wrong the server cannot tell, and a visit
// moved to the time of a slow server would be found under no order over its true time.
const maxFuture = guard.Reach

// placement is where a visit is put in time.
type placement struct {
	at    time.Time
	moved bool // at is not the gate's own time; the same record may be placed elsewhere when it comes again
}

// lastDay is the last on which a visit can have taken place. An unproven time is the one at which the code was issued.
func lastDay(v visit.Visit) day.Day {
	if v.Clock == visit.ClockUntrusted {
		return day.OfCode(v.At)
	}
	return day.Of(v.At)
}

// place decides when a visit took place, and reports false if that is a day already destroyed. A time is taken as it is,
// unless it lies further in the future than maxFuture: then it is that of arrival. An unproven one is the code's time of issue,
// and not before last, the newest proven time of visit from the gate, for journals arrive in order; but on no later day than
// the code is of, after which its issuer has destroyed it.
func place(v visit.Visit, last, received time.Time) (placement, bool) {
	oldest := day.OldestKept(received)
	if lastDay(v) < oldest {
		return placement{}, false
	}
	if v.At.After(received.Add(maxFuture)) {
		return placement{at: received, moved: true}, true
	}
	if v.Clock != visit.ClockUntrusted {
		return placement{at: v.At}, true
	}
	from := last
	if start := oldest.Start(); from.Before(start) {
		from = start
	}
	if end := (lastDay(v) + 1).Start().Add(-time.Millisecond); from.After(end) {
		from = end
	}
	if from.After(received) {
		from = received
	}
	if v.At.Before(from) {
		return placement{at: from, moved: true}, true
	}
	return placement{at: v.At, moved: true}, true
}

// behind reports whether the server's clock is further behind the newest proven time of visit of a journal than it could
// be: it was set back, and whatever it took now it would put on a day long gone.
func behind(now, placed time.Time) bool { return now.Before(placed.Add(-maxFuture)) }
