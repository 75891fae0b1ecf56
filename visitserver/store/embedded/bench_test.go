package embedded

import (
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/store"
)

const perBatch = 1000

var benchDay = day.Of(time.Date(2020, 7, 1, 0, 0, 0, 0, day.Seoul()))

// benchRows are rows as the server makes them: random blind index, ciphertext of a visit.
func benchRows(n int) []store.Row {
	rows := make([]store.Row, n)
	for i := range rows {
		rows[i] = store.Row{At: benchDay.Start().Add(time.Duration(i%86400) * time.Second), Gate: "door-1", Sealed: make([]byte, 98)}
		_, _ = rand.Read(rows[i].Blind[:])
		_, _ = rand.Read(rows[i].Sealed)
	}
	return rows
}

// BenchmarkPut puts batches of rows: identity checked, rows, index and counts, durable. How it stands to bare Pebble,
// lab/bench measures.
func BenchmarkPut(b *testing.B) {
	s := openIn(b, b.TempDir())
	defer s.Close()
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		rows := benchRows(perBatch)
		f := visit.Facility(fmt.Sprintf("place-%d", n%16))
		b.StartTimer()
		fresh, err := s.Put(b.Context(), f, benchDay, rows, nil)
		if err != nil || fresh != perBatch {
			b.Fatalf("%d fresh, %v", fresh, err)
		}
	}
	b.ReportMetric(perBatch*float64(b.N)/b.Elapsed().Seconds(), "visits/s")
}
