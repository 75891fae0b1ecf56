package embedded

import (
	"fmt"
	"testing"

	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/store"
)

// maxScans is how many visits the answer to an order has at most (order.MaxScans).
const maxScans = 500_000

// BenchmarkSearch reads the fullest window that an order may have, among as many visits of other places: alone, and with
// each code looked up at all places, as an answer to an order does.
func BenchmarkSearch(b *testing.B) {
	s := openIn(b, b.TempDir())
	defer s.Close()
	for n := range 2 * maxScans / perBatch {
		f := visit.Facility("cafe")
		if n%2 == 1 {
			f = visit.Facility(fmt.Sprintf("place-%d", n%16))
		}
		if _, err := s.Put(b.Context(), f, benchDay, benchRows(perBatch), nil); err != nil {
			b.Fatal(err)
		}
	}
	for _, lookUp := range []bool{false, true} {
		b.Run(map[bool]string{false: "the window alone", true: "each code at all places"}[lookUp], func(b *testing.B) {
			for b.Loop() {
				var codes []store.Blind
				for r, err := range s.Window(b.Context(), "cafe", benchDay, benchDay.Start(), (benchDay + 1).Start()) {
					if err != nil {
						b.Fatal(err)
					}
					codes = append(codes, r.Blind)
				}
				if len(codes) != maxScans {
					b.Fatalf("%d rows, want %d", len(codes), maxScans)
				}
				if !lookUp {
					continue
				}
				if found, err := s.Elsewhere(b.Context(), "cafe", benchDay, codes); err != nil || len(found) != 0 {
					b.Fatalf("%d are at another place: %v", len(found), err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*maxScans), "us/visit")
		})
	}
}
