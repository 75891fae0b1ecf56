package firmware

import (
	"sync"
	"time"

	"github.com/kipass/kipass/visit"
)

// Tally counts outcomes by hour, of the last 24 hours and since the start. What was read is never kept.
type Tally struct {
	mu    sync.Mutex
	total map[visit.Outcome]uint64
	hours map[int64]map[visit.Outcome]uint64 // hours since 1970
}

const tallyHours = 24

func newTally() *Tally {
	return &Tally{total: map[visit.Outcome]uint64{}, hours: map[int64]map[visit.Outcome]uint64{}}
}

func (t *Tally) add(o visit.Outcome, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total[o]++
	hour := at.Unix() / 3600
	if t.hours[hour] == nil {
		t.hours[hour] = map[visit.Outcome]uint64{}
		for h := range t.hours {
			if h <= hour-tallyHours || h > hour+tallyHours {
				delete(t.hours, h)
			}
		}
	}
	t.hours[hour][o]++
}

// Total returns the counts since the start.
func (t *Tally) Total() map[visit.Outcome]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return copyCounts(t.total)
}

// Hours returns the counts of the last 24 hours, keyed by the hour's first instant.
func (t *Tally) Hours() map[time.Time]map[visit.Outcome]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	hours := make(map[time.Time]map[visit.Outcome]uint64, len(t.hours))
	for h, counts := range t.hours {
		hours[time.Unix(h*3600, 0)] = copyCounts(counts)
	}
	return hours
}

func copyCounts(m map[visit.Outcome]uint64) map[visit.Outcome]uint64 {
	c := make(map[visit.Outcome]uint64, len(m))
	for o, n := range m {
		c[o] = n
	}
	return c
}
