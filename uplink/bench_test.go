package uplink

import (
	"context"
	"testing"

	"github.com/kipass/kipass/protocol/wire"
)

// BenchmarkDrain drains 100,000 records from memory through TLS 1.3 on loopback to a handler that only decodes and
// counts: the uplink's own share of the way, both ends on one machine.
func BenchmarkDrain(b *testing.B) {
	const records = 100_000
	c := newCentral(b).start()
	c.bare = true
	g := newGateSide(b, c, 0).enrolled()
	g.journal.stored = nil
	for b.Loop() {
		b.StopTimer()
		g.journal = newMemory(records)
		u := g.uplink(nil)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		b.StartTimer()
		go func() { done <- u.Run(ctx) }()
		g.journal.awaitEmpty()
		b.StopTimer()
		cancel()
		check(b, <-done)
		b.StartTimer()
	}
	if c.count != records*b.N {
		b.Fatalf("server counted %d of %d", c.count, records*b.N)
	}
	b.ReportMetric(float64(records)*float64(b.N)/b.Elapsed().Seconds(), "visits/s")
	b.ReportMetric(float64(wire.MaxRecords), "records/batch")
}
