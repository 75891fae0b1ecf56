package inquiry

import (
	"time"

	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
)

// Mark says what makes a scan of the contact list doubtful. It stays in the list all the same: whoever traces contacts
// decides.
type Mark string

// The marks, as they stand in the list.
const (
	MarkLate         Mark = "late"          // order.Late
	MarkNewJournal   Mark = "new-journal"   // order.NewJournal
	MarkTwoPlaces    Mark = "two-places"    // order.TwoPlaces
	MarkTimeUnproven Mark = "time-unproven" // the gate did not know the time
	MarkTimeMisfit   Mark = "time-misfit"   // the code was not valid at the time of the scan
)

var markWords = map[Mark]string{
	MarkLate:         "늦게 도착한 기록 / record that arrived late",
	MarkNewJournal:   "게이트의 확인되지 않은 새 기록장 / unacknowledged new journal of the gate",
	MarkTwoPlaces:    "같은 코드가 다른 곳에도 있음 / the same code was recorded elsewhere too",
	MarkTimeUnproven: "게이트 시각이 확인되지 않음 / the gate did not know the time",
	MarkTimeMisfit:   "코드 발급 시각과 맞지 않음 / does not fit the time of issue",
}

// Words returns the mark in Korean and English.
func (m Mark) Words() string { return markWords[m] }

// timeAllowance is how far beyond life and skew a scan may lie from the time of issue: for times of issue cut to whole
// seconds, and the time between a gate's look at its clock and its judgement of the code.
const timeAllowance = 5 * time.Second

// marks holds a scan against what the visit server says of it and, where it is known, the time at which the issuer gave
// the code out; issued is zero where it is not known.
func marks(s order.Scan, issued time.Time) (all []Mark) {
	for _, f := range []struct {
		flag order.Flags
		mark Mark
	}{{order.Late, MarkLate}, {order.NewJournal, MarkNewJournal}, {order.TwoPlaces, MarkTwoPlaces}} {
		if s.Flags&f.flag != 0 {
			all = append(all, f.mark)
		}
	}
	margin := s.Skew + timeAllowance
	switch {
	case s.Clock == visit.ClockUntrusted:
		all = append(all, MarkTimeUnproven)
	case issued.IsZero():
	case s.At.Before(issued.Add(-margin)) || s.At.After(issued.Add(token.Lifetime+margin)):
		all = append(all, MarkTimeMisfit)
	}
	return all
}
