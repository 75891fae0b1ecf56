package journal

import (
	"context"
	"time"
)

const destroyEvery = 10 * time.Minute

// RunRetention ends the retention of undelivered records ([Journal.Destroy]) until ctx ends, at once and then every ten
// minutes. now tells the time and whether it is trusted: a clock that is not may not end anything.
func (j *Journal) RunRetention(ctx context.Context, now func() (at time.Time, trusted bool)) {
	tick := time.NewTicker(destroyEvery)
	defer tick.Stop()
	for {
		if at, trusted := now(); trusted {
			if _, err := j.Destroy(at); err != nil {
				j.log.Error("destroying records past their retention", "error", err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
