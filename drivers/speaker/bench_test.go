//go:build cgo && !nosound

package speaker

import (
	"slices"
	"testing"
	"time"
)

// BenchmarkFirstSample measures from the call of Show, in another process, to the first sample that is not silence taken
// by a card at real-time pace, from rest. The pipe to the other process is in it.
func BenchmarkFirstSample(b *testing.B) {
	for _, buffer := range []time.Duration{5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 40 * time.Millisecond} {
		b.Run("buffer="+buffer.String(), func(b *testing.B) {
			card := newCard(b)
			r := startRemote(b, card, 1, buffer, time.Hour)
			r.must("show tone/green")
			r.heard(card)
			var took []time.Duration
			for b.Loop() {
				from, began := card.Len(), time.Now()
				r.must("show tone/green")
				_, at, err := card.FirstSound(from, patience)
				if err != nil {
					b.Fatal(err)
				}
				took = append(took, at.Sub(began))
				r.heard(card)
			}
			slices.Sort(took)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms")
			b.ReportMetric(took[len(took)*95/100].Seconds()*1000, "p95-ms")
		})
	}
}
