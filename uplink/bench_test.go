package uplink

import (
	"context"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/internal/testkit/fakevisits"
	"github.com/kipass/kipass/protocol/wire"
)

// BenchmarkDrain drains 100,000 records from memory through TLS 1.3 on loopback to a handler that only decodes and
// counts: the uplink's own share of the way, both ends on one machine.
func BenchmarkDrain(b *testing.B) {
	const records = 100_000
	server := fakevisits.New(b).Loopback()
	server.CountOnly = true
	f := newFixtureOf(b, server, 0).enrolled()
	for b.Loop() {
		b.StopTimer()
		f.journal = newMemoryJournal(records)
		u := f.uplink(nil)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		b.StartTimer()
		go func() { done <- u.Run(ctx) }()
		f.journal.awaitEmpty()
		b.StopTimer()
		cancel()
		testkit.Check(b, <-done)
		b.StartTimer()
	}
	if n := server.Counts().Visits; n != records*b.N {
		b.Fatalf("server counted %d of %d", n, records*b.N)
	}
	b.ReportMetric(float64(records)*float64(b.N)/b.Elapsed().Seconds(), "visits/s")
	b.ReportMetric(float64(wire.MaxRecords), "records/batch")
}
