package visitserver

import (
	"time"

	"github.com/kipass/kipass/protocol/visit"
)

// enter takes a segment's journal for the one in use at the gate, and returns an alert if that is not as it should be.
// A gate has one journal for as long as its device lives. Another one is expected after an enrolment, which an operator
// has allowed; without one it is that of a copy, or of a device whose journal was lost. known says that the journal has
// been heard of before; enrolled is the gate's last enrolment.
func (g *gateRow) enter(id visit.JournalID, known bool, enrolled *time.Time, received time.Time) (alert string) {
	switch {
	case g.Journal == id.String():
		return ""
	case g.Journal == "":
	case known:
		alert = AlertParallel
	case enrolled == nil || !enrolled.After(g.Since):
		alert = AlertNewJournal
	}
	if g.Journal != "" && !known { // what the one before it had not delivered will not come any more
		g.lack(g.deliveredBy(), received, 0)
	}
	g.Journal, g.Since, g.Doubtful = id.String(), received, alert != ""
	return alert
}

// deliveredBy is the moment up to which the gate is known to have delivered everything.
func (g gateRow) deliveredBy() time.Time {
	if g.Delivered.IsZero() {
		return g.Added
	}
	return g.Delivered.Add(-inFlight)
}

// clockSlack is how far the clocks of a gate and of the server may differ without that being worth a word.
const clockSlack = 5 * time.Minute

// belated reports whether a visit, by a clock that was sure of it, is of a time for which the gate had reported that
// nothing was left to deliver. Clocks may differ by clockSlack.
func (g gateRow) belated(v visit.Visit) bool {
	return v.Clock != visit.ClockUntrusted && v.At.Before(g.Delivered.Add(-clockSlack))
}
