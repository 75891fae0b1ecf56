package visitserver

import (
	"time"

	"github.com/kipass/kipass/internal/guard"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

// maxFuture is how far a proven time of visit may lie after the server's own time: no further than clocks are ever
// believed. Which of the two is wrong the server cannot tell, and a visit moved to the time of a slow server would be
// found under no order over its true time.
const maxFuture = guard.Reach

// placement is where a visit is put in time.
type placement struct {
	at    time.Time
	moved bool // at is not the gate's own time; the same record may be placed elsewhere when it comes again
}

// place decides when a visit took place, and reports false if that is a day already destroyed. A proven time is taken
// as it is, unless it lies further in the future than maxFuture. An unproven one is the code's time of issue, and lies between last, the newest
// proven time of visit from the gate, and the moment of arrival: journals arrive in order.
func place(v visit.Visit, last, received time.Time) (placement, bool) {
	oldest := day.OldestKept(received)
	if v.Clock != visit.ClockUntrusted {
		switch {
		case day.Of(v.At) < oldest:
			return placement{}, false
		case v.At.After(received.Add(maxFuture)):
			return placement{at: received, moved: true}, true
		}
		return placement{at: v.At}, true
	}
	from := last
	if start := oldest.Start(); from.Before(start) {
		from = start
	}
	if from.After(received) {
		from = received
	}
	switch {
	case v.At.Before(from):
		return placement{at: from, moved: true}, true
	case v.At.After(received):
		return placement{at: received, moved: true}, true
	}
	return placement{at: v.At, moved: true}, true
}

// behind reports whether the server's clock is further behind the newest proven time of visit of a journal than it could
// be: it was set back, and whatever it took now it would put on a day long gone.
func behind(now, placed time.Time) bool { return now.Before(placed.Add(-maxFuture)) }
