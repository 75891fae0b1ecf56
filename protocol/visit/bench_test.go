package visit_test

import (
	"testing"

	"github.com/kipass/kipass/protocol/visit"
)

func BenchmarkMarshal(b *testing.B) {
	v := ordinary()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Marshal(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	r := record(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := visit.Unmarshal(r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSeal is the cost of one record, encoded already. How it stands to bare AES-GCM, lab/bench measures.
func BenchmarkSeal(b *testing.B) {
	s, r := newSealer(b, 1), record(b)
	buf := make([]byte, 0, visit.MaxSealed)
	seq := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		seq++
		buf = s.Seal(buf[:0], seq, r)
	}
	b.ReportMetric(float64(len(buf)-len(r)), "overhead-B")
}

func BenchmarkNewSealer(b *testing.B) {
	pub := serverKey(b).Public()
	for b.Loop() {
		if _, err := visit.NewSealer(pub, facility, gate, 1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewOpener(b *testing.B) {
	k, e := serverKey(b), newSealer(b, 1).Epoch()
	for b.Loop() {
		if _, err := visit.NewOpener(k, facility, gate, e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	s := newSealer(b, 1)
	sealed := s.Seal(nil, 1, record(b))
	o, err := visit.NewOpener(serverKey(b), facility, gate, s.Epoch())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := o.Open(1, sealed); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkChain(b *testing.B) {
	c, r := visit.Genesis(visit.JournalID{}), visit.Sealed{Seq: 1, Data: make([]byte, 85)}
	b.ReportAllocs()
	for b.Loop() {
		c = c.Next(r)
	}
}
