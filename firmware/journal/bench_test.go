package journal

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
)

// How these stand to bare bbolt, lab/bench measures.

func BenchmarkAppend(b *testing.B) {
	s := newFixture(b)
	j := s.open()
	s.mustAppend(j, 1)
	v := s.visit()
	b.ResetTimer()
	for range b.N {
		if _, err := j.Append(b.Context(), v); err != nil {
			b.Fatal(err)
		}
	}
}

const benchWriters = 64

// spread runs do n times from benchWriters goroutines.
func spread(n int, do func()) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range benchWriters {
		wg.Go(func() {
			for next.Add(1) <= int64(n) {
				do()
			}
		})
	}
	wg.Wait()
}

func BenchmarkAppend64(b *testing.B) {
	s := newFixture(b)
	j := s.open()
	s.mustAppend(j, 1)
	v := s.visit()
	b.ResetTimer()
	spread(b.N, func() {
		if _, err := j.Append(b.Context(), v); err != nil {
			b.Error(err)
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
}

func BenchmarkPeekSettle1000(b *testing.B) {
	s := newFixture(b)
	j := s.open()
	v := s.visit()
	spread(b.N*1000, func() {
		if _, err := j.Append(b.Context(), v); err != nil {
			b.Error(err)
		}
	})
	b.ResetTimer()
	for range b.N {
		seg, err := j.Peek(1000, 1<<20)
		if err != nil || len(seg.Records) != 1000 {
			b.Fatal(fmt.Errorf("%d records: %w", len(seg.Records), err))
		}
		testkit.Check(b, j.Settle(visit.Settlement{Journal: seg.Journal, Through: seg.Through()}))
	}
	b.ReportMetric(float64(b.N*1000)/b.Elapsed().Seconds(), "records/s")
}
