package screen

import (
	"slices"
	"sync"
	"time"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

// counts holds a number for each outcome, by its value.
type counts [visit.NotACode + 1]uint64

// tally counts outcomes since the start and by hour of the last day. It knows nothing but outcome and hour.
type tally struct {
	mu    sync.Mutex
	total counts
	hours []hourCounts // oldest first, at most maxHours
}

type hourCounts struct {
	Hour   time.Time // its beginning, in Asia/Seoul
	Counts counts
}

const maxHours = 24

func newTally() *tally { return &tally{} }

func (t *tally) add(o visit.Outcome, at time.Time) {
	if int(o) >= len(t.total) {
		return
	}
	hour := at.In(day.Seoul()).Truncate(time.Hour)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total[o]++
	// A clock set back must not scatter an hour over several rows.
	i := slices.IndexFunc(t.hours, func(h hourCounts) bool { return h.Hour.Equal(hour) })
	if i < 0 {
		t.hours = append(t.hours, hourCounts{Hour: hour})
		if len(t.hours) > maxHours {
			t.hours = slices.Delete(t.hours, 0, 1)
		}
		i = len(t.hours) - 1
	}
	t.hours[i].Counts[o]++
}

func (t *tally) totals() counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.total
}

// lastHours returns the hours that had scans, newest first.
func (t *tally) lastHours() []hourCounts {
	t.mu.Lock()
	defer t.mu.Unlock()
	hours := slices.Clone(t.hours)
	slices.Reverse(hours)
	return hours
}
