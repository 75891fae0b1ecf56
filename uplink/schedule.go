package uplink

import "time"

const (
	defaultPeriod = 5 * time.Minute // between heartbeats
	maxPeriod     = time.Hour
	faultPeriod   = time.Minute     // at most, while the gate has faults
	startSpread   = 2 * time.Second // a street's gates get their power back together
)

// schedule knows when a heartbeat is due.
type schedule struct {
	period time.Duration
	last   time.Time // begin of the period
	jitter float64   // 0.9 to 1.1, drawn for each period
	hold   hold      // after a failure
}

// newSchedule lets the first heartbeat be due within startSpread; draw is from 0 to 1.
func newSchedule(draw float64) schedule {
	first := time.Now().Add(time.Duration(draw * float64(startSpread)))
	return schedule{period: defaultPeriod, jitter: 1, last: first.Add(-defaultPeriod)}
}

// wait returns how long there is no heartbeat to send; 0 or less means that one is due. With faults it is due earlier.
func (s *schedule) wait(faulty func() bool) time.Duration {
	scale := func(d time.Duration) time.Duration { return time.Duration(s.jitter * float64(d)) }
	held := s.hold.left()
	due := time.Until(s.last.Add(scale(s.period)))
	look := scale(min(s.period, faultPeriod))
	early := time.Until(s.last.Add(look))
	switch {
	case due <= 0:
		return held
	case early > 0:
		return max(early, held)
	case faulty():
		return held
	default:
		return max(min(due, look), held)
	}
}

// sent begins the next period.
func (s *schedule) sent(draw float64) { s.last, s.jitter = time.Now(), 0.9+0.2*draw }

// obey takes the period a server asks for, in seconds, 0 for the default.
func (s *schedule) obey(period uint32) {
	s.period = defaultPeriod
	if period > 0 {
		s.period = min(time.Duration(period)*time.Second, maxPeriod)
	}
}
