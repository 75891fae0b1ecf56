package visitserver

import (
	"fmt"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
	"github.com/kipass/kipass/visitserver/store/embedded"
)

// cpu is the processor time this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkIngest takes batches of 1,000 visits as they come off the wire, through decoding, unsealing, chain, day key
// and the durable store, to the receipt.
func BenchmarkIngest(b *testing.B) {
	d := newDirectFixture(b, testkit.Must(embedded.Open(b.TempDir(), embedded.Options{}))(b))
	sealer, err := visit.NewSealer(d.seal, "cafe", "door", 1)
	if err != nil {
		b.Fatal(err)
	}
	id := visit.JournalID{1}
	prev, seq := visit.Genesis(id), uint64(1)
	var took []time.Duration
	var used time.Duration
	for b.Loop() {
		seg := visit.Segment{Journal: id, Prev: prev, Epochs: []visit.Epoch{sealer.Epoch()}}
		for range wire.MaxRecords {
			record, err := newVisit(noon.Add(-time.Duration(seq%36000) * time.Second)).Marshal()
			if err != nil {
				b.Fatal(err)
			}
			seg.Records = append(seg.Records, visit.Sealed{Seq: seq, Data: sealer.Seal(nil, seq, record)})
			seq++
		}
		prev = seg.Head()
		body, err := wire.Encode(wire.Batch{Segment: seg, Oldest: seg.Records[0].Seq})
		if err != nil {
			b.Fatal(err)
		}
		before, began := cpu(b), time.Now()
		if w := d.call(wire.PathVisits, wire.TypeBatch, body); w.Code != http.StatusOK {
			b.Fatalf("status %d", w.Code)
		}
		took, used = append(took, time.Since(began)), used+cpu(b)-before
	}
	if n, err := d.store.Stored(b.Context(), "cafe"); err != nil || n != seq-1 {
		b.Fatalf("stored %d of %d: %v", n, seq-1, err)
	}
	slices.Sort(took)
	b.ReportMetric(wire.MaxRecords/took[len(took)/2].Seconds(), "visits/s")
	b.ReportMetric(float64(used.Microseconds())/float64(seq-1), "cpu-us/visit")
}

// BenchmarkOneVisitPerRequest sends single visits over a kept TLS connection; the processor time is both ends' together.
func BenchmarkOneVisitPerRequest(b *testing.B) {
	fx := newFixture(b)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	g.journalled(newVisit(noon))
	g.deliver() // opens connection and epoch
	before := cpu(b)
	n := 0
	for b.Loop() {
		g.journalled(newVisit(noon))
		g.deliver()
		n++
	}
	used := cpu(b) - before
	b.ReportMetric(float64(used.Microseconds())/float64(n), "cpu-us/visit")
	if got := fx.stored("cafe"); got != uint64(n)+1 {
		b.Fatal(fmt.Errorf("stored %d of %d", got, n+1))
	}
}
