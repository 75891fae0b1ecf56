package visitserver

import (
	"time"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

// maxAhead is how far a proven time of visit may lie after the server's own time.
const maxAhead = 5 * time.Minute

// placement is where a visit is put in time.
type placement struct {
	at    time.Time
	moved bool // at is not the gate's own time; the same record may be placed elsewhere when it comes again
}

// place decides when a visit took place, and reports false if that is a day already destroyed. A proven time is taken
// as it is, unless it lies in the future. An unproven one is the code's time of issue, and lies between last, the newest
// proven time of visit from the gate, and the moment of arrival: journals arrive in order.
func place(v visit.Visit, last, received time.Time) (placement, bool) {
	oldest := day.OldestKept(received)
	if v.Clock != visit.ClockUntrusted {
		switch {
		case day.Of(v.At) < oldest:
			return placement{}, false
		case v.At.After(received.Add(maxAhead)):
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
