package hil

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/lab/hil/guest"
	"github.com/kipass/kipass/lab/hil/job"
	"github.com/kipass/kipass/protocol/visit"
)

// fixture is what the host knows of a journal, and what a machine would say that it found of it.
type fixture struct {
	truth   *truth
	opened  job.Opened
	segment visit.Segment
}

// newFixture seals visits with the numbers given, from sequence 1 on, as a gate does, and acknowledges them all but the
// last.
func newFixture(t *testing.T, numbers ...uint64) *fixture {
	t.Helper()
	tr := testkit.Must(newTruth())(t)
	s := testkit.Must(visit.NewSealer(tr.key.Public(), guest.Facility, guest.Gate, 1))(t)
	f := &fixture{truth: tr, segment: visit.Segment{Journal: visit.JournalID{1}, Prev: visit.Genesis(visit.JournalID{1}), Epochs: []visit.Epoch{s.Epoch()}}}
	for i, n := range numbers {
		record := testkit.Must(guest.VisitOf(n, time.Unix(1_770_000_000, 0)).Marshal())(t)
		seq := uint64(i + 1)
		f.segment.Records = append(f.segment.Records, visit.Sealed{Seq: seq, Data: s.Seal(nil, seq, record)})
		if i < len(numbers)-1 {
			testkit.Check(t, tr.ack(job.Acked{Seq: seq, Number: n}))
		}
	}
	f.opened.Head = uint64(len(numbers))
	return f
}

func (f *fixture) inspect() error {
	var err error
	if f.opened.Segment, err = cbor.Marshal(f.segment); err != nil {
		return err
	}
	return f.truth.inspect(f.opened)
}

func TestInspect(t *testing.T) {
	for _, c := range []struct {
		rule  string
		spoil func(*fixture)
		words string // "" when nothing is wrong
		lost  bool
	}{
		{"all is there", func(*fixture) {}, "", false},
		{"a visit that was not acknowledged may be lost", func(f *fixture) {
			f.segment.Records = f.segment.Records[:4]
			f.opened.Head--
		}, "", false},
		{"an acknowledged visit is lost", func(f *fixture) {
			f.segment.Records = f.segment.Records[:3]
			f.opened.Head = 3
		}, "newest record is 3, 4 was acknowledged", true},
		{"all are lost", func(f *fixture) {
			f.segment.Records, f.segment.Epochs, f.opened.Head = nil, nil, 0
		}, "newest record is 0", true},
		{"the journal is another one", func(f *fixture) { f.truth.journal = visit.JournalID{9} }, "was replaced", false},
		{"a record is missing in the middle", func(f *fixture) {
			f.segment.Records = append(f.segment.Records[:1:1], f.segment.Records[2:]...)
		}, "out of order", false},
		{"a record was altered", func(f *fixture) { f.segment.Records[1].Data[3] ^= 1 }, "cannot be unsealed", false},
		{"a record is another visit's", func(f *fixture) { f.truth.acked[2] = 77 }, "not the visit 77", false},
		{"the chain is broken", func(f *fixture) { f.segment.Prev[0] ^= 1 }, "chain was broken", false},
		{"the head is not the newest record", func(f *fixture) { f.opened.Head = 9 }, "newest is 9", false},
		{"the journal was damaged", func(f *fixture) { f.opened.Damage = "meta page 0" }, "meta page 0", false},
		{"a file was set aside", func(f *fixture) { f.opened.Replaced = 1 }, "1 files set aside", false},
		{"the ledger is wrong", func(f *fixture) { f.opened.Ledger = "five are not six" }, "five are not six", false},
		{"records left that the server does not have", func(f *fixture) { f.opened.Tail = 2 }, "have left the journal", false},
		{"the epoch is for another key", func(f *fixture) { f.segment.Epochs[0].Key[0] ^= 1 }, "sealing key", false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			f := newFixture(t, 100, 101, 102, 103, 104)
			tr := f.truth
			c.spoil(f)
			err := f.inspect()
			switch {
			case c.words == "" && err != nil:
				t.Errorf("inspect says %v", err)
			case c.words != "" && (err == nil || !strings.Contains(err.Error(), c.words)):
				t.Errorf("inspect says %v, want %q", err, c.words)
			case errors.Is(err, errLost) != c.lost:
				t.Errorf("inspect says %v: lost %v, want %v", err, !c.lost, c.lost)
			case err != nil && tr.known != 0:
				t.Error("what was wrong became known")
			case err == nil && (tr.known != f.opened.Head || len(tr.acked) > 0):
				t.Errorf("known to %d with %d acknowledged open, want %d and none", tr.known, len(tr.acked), f.opened.Head)
			}
		})
	}
}

func TestASequenceIsAcknowledgedOnce(t *testing.T) {
	tr := testkit.Must(newTruth())(t)
	testkit.Check(t, tr.ack(job.Acked{Seq: 1, Number: 5}))
	if tr.ack(job.Acked{Seq: 1, Number: 6}) == nil {
		t.Error("a sequence was acknowledged for two visits")
	}
	tr.known = 8
	if tr.ack(job.Acked{Seq: 8, Number: 7}) == nil {
		t.Error("a sequence was acknowledged that is another record's already")
	}
}
