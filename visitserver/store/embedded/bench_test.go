package embedded

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
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

// BenchmarkPut measures the store's own way (identity checked, rows, index and counts) beside the same keys and values
// written to a plain Pebble in a bare loop (no check, no lock), both durable, in turns; it reports medians.
func BenchmarkPut(b *testing.B) {
	s := openIn(b, b.TempDir())
	defer s.Close()
	db, err := pebble.Open(filepath.Join(b.TempDir(), "bare"), s.options())
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	var ours, bare []time.Duration
	for n := 0; b.Loop(); n++ {
		rows := benchRows(perBatch)
		f := visit.Facility(fmt.Sprintf("place-%d", n%16))
		began := time.Now()
		fresh, err := s.Put(b.Context(), f, benchDay, rows)
		if err != nil || fresh != perBatch {
			b.Fatalf("%d fresh, %v", fresh, err)
		}
		ours = append(ours, time.Since(began))
		began = time.Now()
		if err := putBare(db, f, rows); err != nil {
			b.Fatal(err)
		}
		bare = append(bare, time.Since(began))
	}
	slices.Sort(ours)
	slices.Sort(bare)
	mine, limit := ours[len(ours)/2], bare[len(bare)/2]
	b.ReportMetric(perBatch/mine.Seconds(), "visits/s")
	b.ReportMetric(perBatch/limit.Seconds(), "bare-visits/s")
	b.ReportMetric(limit.Seconds()/mine.Seconds(), "ratio")
}

func putBare(db *pebble.DB, f visit.Facility, rows []store.Row) error {
	b := db.NewBatchWithSize(perBatch * 320)
	defer b.Close()
	var key, value []byte
	for _, r := range rows {
		ms := uint64(r.At.UnixMilli())
		key, value = indexKey(key[:0], r.Blind, f), binary.BigEndian.AppendUint64(value[:0], ms)
		if err := b.Set(key, value, nil); err != nil {
			return err
		}
		key, value = rowKey(key[:0], f, ms, r.Blind), rowValue(value[:0], r)
		if err := b.Set(key, value, nil); err != nil {
			return err
		}
	}
	return b.Commit(pebble.Sync)
}
