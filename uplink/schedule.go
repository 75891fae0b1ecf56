package uplink

import (
	"slices"
	"time"
)

const (
	defaultPeriod = 5 * time.Minute // between heartbeats
	maxPeriod     = time.Hour
	newsPeriod    = time.Minute     // at most, when other faults hold than were told last
	startSpread   = 2 * time.Second // a street's gates get their power back together
)

// schedule knows when a heartbeat is due.
type schedule struct {
	period time.Duration
	last   time.Time // begin of the period
	jitter float64   // 0.9 to 1.1, drawn for each period
	told   []string  // the faults of the last heartbeat
	hold   hold      // after a failure
}

// newSchedule lets the first heartbeat be due within startSpread; draw is from 0 to 1.
func newSchedule(draw float64) schedule {
	first := time.Now().Add(time.Duration(draw * float64(startSpread)))
	return schedule{period: defaultPeriod, jitter: 1, last: first.Add(-defaultPeriod)}
}

// wait returns how long there is no heartbeat to send; 0 or less means that one is due. It is due earlier if other faults
// hold than were told last.
func (s *schedule) wait(faults func() []string) time.Duration {
	scale := func(d time.Duration) time.Duration { return time.Duration(s.jitter * float64(d)) }
	held := s.hold.left()
	due := time.Until(s.last.Add(scale(s.period)))
	look := scale(min(s.period, newsPeriod))
	early := time.Until(s.last.Add(look))
	switch {
	case due <= 0:
		return held
	case early > 0:
		return max(early, held)
	case !slices.Equal(faults(), s.told):
		return held
	default:
		return max(min(due, look), held)
	}
}

// sent begins the next period after a heartbeat that told these faults.
func (s *schedule) sent(draw float64, faults []string) {
	s.last, s.jitter, s.told = time.Now(), 0.9+0.2*draw, faults
}

// obey takes the period a server asks for, in seconds, 0 for the default.
func (s *schedule) obey(period uint32) {
	s.period = defaultPeriod
	if period > 0 {
		s.period = min(time.Duration(period)*time.Second, maxPeriod)
	}
}
