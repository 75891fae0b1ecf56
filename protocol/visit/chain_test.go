package visit_test

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/kipass/kipass/protocol/visit"
)

func testSegment() visit.Segment {
	id := visit.JournalID(bytes.Repeat([]byte{1}, 16))
	s := visit.Segment{Journal: id, Prev: visit.Genesis(id), Epochs: []visit.Epoch{
		{First: 1, Enc: bytes.Repeat([]byte{2}, visit.EncSize)}, {First: 4, Enc: bytes.Repeat([]byte{3}, visit.EncSize)},
	}}
	for seq := uint64(2); seq <= 6; seq++ {
		s.Records = append(s.Records, visit.Sealed{Seq: seq, Data: bytes.Repeat([]byte{byte(seq)}, 80)})
	}
	return s
}

func TestAnyChangeChangesTheHead(t *testing.T) {
	want := testSegment().Head()
	changes := map[string]func(*visit.Segment){
		"another journal":        func(s *visit.Segment) { s.Prev = visit.Genesis(visit.JournalID{}) },
		"another record before":  func(s *visit.Segment) { s.Prev = s.Prev.Next(visit.Sealed{Seq: 1, Data: make([]byte, 80)}) },
		"the first dropped":      func(s *visit.Segment) { s.Records = s.Records[1:] },
		"the last dropped":       func(s *visit.Segment) { s.Records = s.Records[:4] },
		"one dropped within":     func(s *visit.Segment) { s.Records = slices.Delete(s.Records, 2, 3) },
		"all dropped":            func(s *visit.Segment) { s.Records = nil },
		"one twice":              func(s *visit.Segment) { s.Records = append(s.Records, s.Records[4]) },
		"two exchanged":          func(s *visit.Segment) { s.Records[1], s.Records[2] = s.Records[2], s.Records[1] },
		"two contents exchanged": func(s *visit.Segment) { s.Records[1].Data, s.Records[2].Data = s.Records[2].Data, s.Records[1].Data },
		"a byte longer":          func(s *visit.Segment) { s.Records[1].Data = append(s.Records[1].Data, 0) },
		"a byte shorter":         func(s *visit.Segment) { s.Records[1].Data = s.Records[1].Data[:79] },
		"a byte moved to the next": func(s *visit.Segment) {
			s.Records[1].Data = s.Records[1].Data[:79]
			s.Records[2].Data = append([]byte{3}, s.Records[2].Data...)
		},
	}
	for name, f := range changes {
		s := testSegment()
		f(&s)
		if s.Head() == want {
			t.Errorf("%s: the head is the same", name)
		}
	}
	for r := range testSegment().Records {
		for i := range 80 {
			s := testSegment()
			s.Records[r].Data[i] ^= 0x80
			if s.Head() == want {
				t.Errorf("byte %d of record %d changed: the head is the same", i, r)
			}
		}
		s := testSegment()
		s.Records[r].Seq ^= 1 << 60
		if s.Head() == want {
			t.Errorf("sequence of record %d changed: the head is the same", r)
		}
	}
}

func TestHeadIsTheSameInAnyCuts(t *testing.T) {
	whole := testSegment()
	for cut := 0; cut <= len(whole.Records); cut++ {
		a, b := whole, whole
		a.Records, b.Records = whole.Records[:cut], whole.Records[cut:]
		b.Prev = a.Head()
		if b.Head() != whole.Head() {
			t.Errorf("cut before record %d: another head", cut)
		}
	}
	if empty := (visit.Segment{Prev: whole.Prev}); empty.Head() != whole.Prev || empty.Through() != 0 {
		t.Error("an empty segment moves the chain")
	}
	if whole.Through() != 6 {
		t.Errorf("through %d, want 6", whole.Through())
	}
}

func TestEpochOf(t *testing.T) {
	s := testSegment()
	for seq, first := range map[uint64]uint64{1: 1, 2: 1, 3: 1, 4: 4, 5: 4, math.MaxUint64: 4} {
		if e, ok := s.EpochOf(seq); !ok || e.First != first {
			t.Errorf("record %d falls into the epoch from %d (%v), want %d", seq, e.First, ok, first)
		}
	}
	if _, ok := s.EpochOf(0); ok {
		t.Error("sequence 0 falls into an epoch")
	}
}

func TestSizesOfASealedRecord(t *testing.T) {
	for n, want := range map[int]bool{0: false, 1: false, visit.SealOverhead: false, visit.SealOverhead + 1: true, visit.MaxSealed: true, visit.MaxSealed + 1: false} {
		if got := (visit.Sealed{Seq: 1, Data: make([]byte, n)}).WellFormed(); got != want {
			t.Errorf("%d bytes: %v", n, got)
		}
	}
}

func TestSegmentCheck(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		f            func(*visit.Segment)
	}{
		{"as it should be", "", func(*visit.Segment) {}},
		{"empty", "", func(s *visit.Segment) { s.Records, s.Epochs = nil, nil }},
		{"one record", "", func(s *visit.Segment) { s.Records = s.Records[:1] }},
		{"a record too large, which is refused alone", "", func(s *visit.Segment) { s.Records[1].Data = make([]byte, 257) }},
		{"a record without bytes", "", func(s *visit.Segment) { s.Records[1].Data = nil }},
		{"a gap", "out of order", func(s *visit.Segment) { s.Records = slices.Delete(s.Records, 2, 3) }},
		{"a sequence twice", "out of order", func(s *visit.Segment) { s.Records[2].Seq = 3 }},
		{"descending", "out of order", func(s *visit.Segment) { slices.Reverse(s.Records) }},
		{"from sequence 0", "out of order", func(s *visit.Segment) { s.Records[0].Seq = 0 }},
		{"past the greatest sequence", "out of order", func(s *visit.Segment) {
			s.Records = s.Records[:2]
			s.Records[0].Seq, s.Records[1].Seq = math.MaxUint64, 0
		}},
		{"no epochs, so that no record opens", "", func(s *visit.Segment) { s.Epochs = nil }},
		{"an epoch that begins too late", "", func(s *visit.Segment) { s.Epochs[0].First = 3 }},
		{"an epoch that begins with the first record", "", func(s *visit.Segment) { s.Epochs[0].First = 2 }},
		{"epochs descending", "not after", func(s *visit.Segment) { slices.Reverse(s.Epochs) }},
		{"two epochs from one sequence", "not after", func(s *visit.Segment) { s.Epochs[1].First = 1 }},
		{"an encapsulated key too short, whose records do not open", "", func(s *visit.Segment) { s.Epochs[1].Enc = s.Epochs[1].Enc[:1119] }},
		{"an encapsulated key missing", "", func(s *visit.Segment) { s.Epochs[0].Enc = nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := testSegment()
			c.f(&s)
			err := s.Check()
			if c.reason == "" && err != nil || c.reason != "" && (err == nil || !strings.Contains(err.Error(), c.reason)) {
				t.Errorf("%v, want %q", err, c.reason)
			}
		})
	}
}
