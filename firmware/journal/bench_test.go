package journal

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/visit"
)

// The bare loops write the same bytes as the journal does – the records and, with each commit, a state – in the same file
// format, with nothing else to do.

func benchRecord(b testing.TB) []byte {
	v := visit.Visit{At: seoulNoon, Issuer: "naver", Clock: visit.ClockSynced, Skew: 2e9}
	_, _ = rand.Read(v.CTI[:])
	r, err := v.Marshal()
	if err != nil {
		b.Fatal(err)
	}
	return append(r, make([]byte, visit.SealOverhead)...)
}

func bareBolt(b testing.TB) *bolt.DB {
	db, err := bolt.Open(filepath.Join(b.TempDir(), "bare.db"), 0o600, &bolt.Options{InitialMmapSize: initialMap})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	if err := db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket(bucketRecords)
		if err == nil {
			_, err = tx.CreateBucket(bucketMeta)
		}
		return err
	}); err != nil {
		b.Fatal(err)
	}
	return db
}

func bareUpdate(b testing.TB, db *bolt.DB, seq uint64, records ...[]byte) {
	if err := db.Update(func(tx *bolt.Tx) error {
		bk := tx.Bucket(bucketRecords)
		for _, r := range records {
			seq++
			if err := bk.Put(seqKey(seq), r); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(keyState, bareState)
	}); err != nil {
		b.Fatal(err)
	}
}

var bareState = make([]byte, stateSize)

func BenchmarkAppend(b *testing.B) {
	s := newSurroundings(b)
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

func BenchmarkBareBboltUpdate(b *testing.B) {
	db, r := bareBolt(b), benchRecord(b)
	b.ResetTimer()
	for i := range b.N {
		bareUpdate(b, db, uint64(i), r)
	}
}

func BenchmarkBareFdatasync(b *testing.B) {
	f, err := os.OpenFile(filepath.Join(b.TempDir(), "bare.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	r := benchRecord(b)
	b.ResetTimer()
	for range b.N {
		if _, err := f.Write(r); err != nil {
			b.Fatal(err)
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppendRatio takes appends, bare Updates and bare fdatasyncs in turns, each as often the first as the last of a
// round, so that all three see the same disk. The figure to hold is ours/bare: the share of the bare rate that the journal
// reaches.
func BenchmarkAppendRatio(b *testing.B) {
	s := newSurroundings(b)
	j := s.open()
	s.mustAppend(j, 1)
	v := s.visit()
	db, r := bareBolt(b), benchRecord(b)
	f, err := os.OpenFile(filepath.Join(b.TempDir(), "bare.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	seq := uint64(0)
	var clocks [3]stopwatch
	turns := [3]func(){
		func() {
			if _, err := j.Append(b.Context(), v); err != nil {
				b.Fatal(err)
			}
		},
		func() {
			bareUpdate(b, db, seq, r)
			seq++
		},
		func() {
			if _, err := f.Write(r); err != nil {
				b.Fatal(err)
			}
			if err := unix.Fdatasync(int(f.Fd())); err != nil {
				b.Fatal(err)
			}
		},
	}
	orders := [6][3]int{{0, 1, 2}, {1, 0, 2}, {2, 0, 1}, {2, 1, 0}, {0, 2, 1}, {1, 2, 0}}
	b.ResetTimer()
	for i := range b.N {
		for _, t := range orders[i%len(orders)] {
			clocks[t].time(turns[t])
		}
	}
	ours, bare, sync := clocks[0].median(), clocks[1].median(), clocks[2].median()
	b.ReportMetric(bare/ours, "ours/bare")
	b.ReportMetric(sync/ours, "ours/fdatasync")
	b.ReportMetric(1/ours, "appends/s")
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
	s := newSurroundings(b)
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

// bareGroups is the plainest group commit over bbolt: one goroutine that writes what is in the channel.
func bareGroups(b testing.TB, db *bolt.DB) (write func([]byte), stop func()) {
	type item struct {
		record []byte
		done   chan struct{}
	}
	in := make(chan item, maxGroup)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		seq := uint64(0)
		for first := range in {
			group := []item{first}
			records := [][]byte{first.record}
			for more := true; more && len(group) < maxGroup; {
				select {
				case i, ok := <-in:
					if more = ok; ok {
						group, records = append(group, i), append(records, i.record)
					}
				default:
					more = false
				}
			}
			bareUpdate(b, db, seq, records...)
			seq += uint64(len(records))
			for _, i := range group {
				close(i.done)
			}
		}
	}()
	write = func(r []byte) {
		i := item{r, make(chan struct{})}
		in <- i
		<-i.done
	}
	return write, func() { close(in); <-ended }
}

func BenchmarkBareGroups64(b *testing.B) {
	r := benchRecord(b)
	write, stop := bareGroups(b, bareBolt(b))
	defer stop()
	b.ResetTimer()
	spread(b.N, func() { write(r) })
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
}

// BenchmarkAppend64Ratio alternates rounds of appends with rounds of the bare grouped loop.
func BenchmarkAppend64Ratio(b *testing.B) {
	s := newSurroundings(b)
	j := s.open()
	s.mustAppend(j, 1)
	v, r := s.visit(), benchRecord(b)
	write, stop := bareGroups(b, bareBolt(b))
	defer stop()
	var ours, bare stopwatch
	const round = 2048
	b.ResetTimer()
	for left := b.N; left > 0; left -= round {
		const n = round
		ours.time(func() {
			spread(n, func() {
				if _, err := j.Append(b.Context(), v); err != nil {
					b.Error(err)
				}
			})
		})
		bare.time(func() { spread(n, func() { write(r) }) })
	}
	b.ReportMetric(bare.median()/ours.median(), "ours/bare")
	b.ReportMetric(round/ours.median(), "appends/s")
}

func BenchmarkPeekSettle1000(b *testing.B) {
	s := newSurroundings(b)
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
		if err := j.Settle(visit.Settlement{Journal: seg.Journal, Through: seg.Through()}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*1000)/b.Elapsed().Seconds(), "records/s")
}
