package embedded

import (
	"crypto/rand"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kipass/kipass/visit"
	"github.com/kipass/kipass/visitserver/store"
)

const perBatch = 1000

var benchDay = visit.DayOf(time.Date(2020, 7, 1, 0, 0, 0, 0, visit.Seoul()))

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

// BenchmarkPut is the store's own way: identity checked, rows, index and counts, durable.
func BenchmarkPut(b *testing.B) {
	s := openIn(b, b.TempDir())
	defer s.Close()
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		rows := benchRows(perBatch)
		b.StartTimer()
		fresh, err := s.Put(b.Context(), visit.Facility(fmt.Sprintf("place-%d", n%16)), benchDay, rows)
		if err != nil || fresh != perBatch {
			b.Fatalf("%d fresh, %v", fresh, err)
		}
	}
	b.ReportMetric(float64(b.N)*perBatch/b.Elapsed().Seconds(), "visits/s")
}

// BenchmarkBarePebble writes the same keys and values in a plain loop: no check, no lock, one batch, durable.
func BenchmarkBarePebble(b *testing.B) {
	s := openIn(b, b.TempDir())
	defer s.Close()
	db, err := pebble.Open(filepath.Join(b.TempDir(), "bare"), s.options())
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		rows := benchRows(perBatch)
		f := visit.Facility(fmt.Sprintf("place-%d", n%16))
		b.StartTimer()
		batch := db.NewBatchWithSize(perBatch * 320)
		var key, value []byte
		for _, r := range rows {
			ms := uint64(r.At.UnixMilli())
			key, value = indexKey(key[:0], r.Blind, f), append(value[:0], "12345678"...)
			if err := batch.Set(key, value, nil); err != nil {
				b.Fatal(err)
			}
			key, value = rowKey(key[:0], f, ms, r.Blind), rowValue(value[:0], r)
			if err := batch.Set(key, value, nil); err != nil {
				b.Fatal(err)
			}
		}
		if err := batch.Commit(pebble.Sync); err != nil {
			b.Fatal(err)
		}
		_ = batch.Close()
	}
	b.ReportMetric(float64(b.N)*perBatch/b.Elapsed().Seconds(), "visits/s")
}
