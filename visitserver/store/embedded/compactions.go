package embedded

import (
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// compactions is Pebble's own scheduler, which lets nothing begin any more once damage was met in the database: Pebble begins a
// compaction that has failed again at once, and over a damaged table it would do so for ever. It looks for something to do
// whenever a compaction ends and not from time to time too, which is as good where one runs at a time.
type compactions struct {
	*pebble.ConcurrencyLimitScheduler
	spoilt *atomic.Bool
}

func newCompactions(spoilt *atomic.Bool) compactions {
	return compactions{pebble.NewConcurrencyLimitSchedulerWithNoPeriodicGrantingForTest(), spoilt}
}

// Register implements pebble.CompactionScheduler.
func (c compactions) Register(goroutines int, db pebble.DBForCompaction) {
	c.ConcurrencyLimitScheduler.Register(goroutines, untilSpoilt{db, c.spoilt})
}

// untilSpoilt is a database that is allowed no compaction after damage.
type untilSpoilt struct {
	pebble.DBForCompaction
	spoilt *atomic.Bool
}

// GetAllowedWithoutPermission implements pebble.DBForCompaction.
func (d untilSpoilt) GetAllowedWithoutPermission() int {
	if d.spoilt.Load() {
		return 0
	}
	return d.DBForCompaction.GetAllowedWithoutPermission()
}
