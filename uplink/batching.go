package uplink

import (
	"time"

	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

const (
	defaultGather = time.Second
	maxSegment    = wire.MaxBatch - 64 // bytes of a segment, so that its batch stays within the limit
)

// batching decides how much goes into the next batch and when it is time for it.
type batching struct {
	limit  int           // records in the next batch
	gather time.Duration // between the beginnings of two batches, unless the second is full
	last   time.Time     // begin of the last batch
}

func newBatching() batching { return batching{limit: wire.MaxRecords, gather: defaultGather} }

// begin takes note that a batch is sent.
func (b *batching) begin() { b.last = time.Now() }

// wait returns how long scans are still gathered for a batch that would hold s now, 0 for no longer. It is asked again
// now and then, since a batch that fills up is sent at once.
func (b *batching) wait(s visit.Segment) time.Duration {
	left := time.Until(b.last.Add(b.gather))
	if left <= 0 || b.full(s) {
		return 0
	}
	return min(left, max(b.gather/8, minDelay))
}

// full reports whether gathering longer could not make the batch much larger.
func (b *batching) full(s visit.Segment) bool {
	if len(s.Records) >= b.limit {
		return true
	}
	size := len(s.Epochs) * (visit.EncSize + 32)
	for _, r := range s.Records {
		size += len(r.Data) + 12
	}
	return size > maxSegment*3/4
}

// shrink makes the next batch half as large as one of n records, which did not get through.
func (b *batching) shrink(n int) { b.limit = max(1, n/2) }

// grow makes the next batch up to twice as large, after one that got through.
func (b *batching) grow() { b.limit = min(2*b.limit, wire.MaxRecords) }

// obey takes the gathering time a server asks for, in milliseconds, 0 for the default.
func (b *batching) obey(gather uint32) {
	b.gather = defaultGather
	if gather > 0 {
		b.gather = min(milliseconds(gather), wire.MaxGather)
	}
}

func milliseconds(n uint32) time.Duration { return time.Duration(n) * time.Millisecond }
