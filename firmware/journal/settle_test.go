package journal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

func TestSettlements(t *testing.T) {
	for _, row := range []struct {
		rule        string
		settle      func(id visit.JournalID) visit.Settlement
		foreign     bool
		backlog     uint64
		quarantined uint64
	}{
		{"takes note of what is stored", func(id visit.JournalID) visit.Settlement { return visit.Settlement{Journal: id, Through: 7} }, false, 3, 0},
		{"of nothing changes nothing", func(id visit.JournalID) visit.Settlement { return visit.Settlement{Journal: id} }, false, 8, 0},
		{"of what is settled changes nothing", func(id visit.JournalID) visit.Settlement { return visit.Settlement{Journal: id, Through: 1} }, false, 8, 0},
		{"up to the head leaves nothing", func(id visit.JournalID) visit.Settlement { return visit.Settlement{Journal: id, Through: 10} }, false, 0, 0},
		{"beyond the head is refused", func(id visit.JournalID) visit.Settlement { return visit.Settlement{Journal: id, Through: 11} }, true, 8, 0},
		{"of another journal is refused", func(id visit.JournalID) visit.Settlement {
			id[0]++
			return visit.Settlement{Journal: id, Through: 7}
		}, true, 8, 0},
		{"moves the refused to quarantine", func(id visit.JournalID) visit.Settlement {
			return visit.Settlement{Journal: id, Through: 7, Refused: []visit.Refusal{{Seq: 3, Reason: "malformed"}, {Seq: 7, Reason: strings.Repeat("long", 99)}}}
		}, false, 3, 2},
		{"refusing what it does not cover is refused", func(id visit.JournalID) visit.Settlement {
			return visit.Settlement{Journal: id, Through: 7, Refused: []visit.Refusal{{Seq: 8}}}
		}, true, 8, 0},
		{"refusing what is settled already changes nothing of it", func(id visit.JournalID) visit.Settlement {
			return visit.Settlement{Journal: id, Through: 7, Refused: []visit.Refusal{{Seq: 2}}}
		}, false, 3, 0},
	} {
		t.Run(row.rule, func(t *testing.T) {
			s := newFixture(t)
			j := s.open()
			s.mustAppend(j, 10)
			id := j.Stats().Journal
			testkit.Check(t, j.Settle(visit.Settlement{Journal: id, Through: 2}))
			for range 2 { // said twice, it is the same
				if err := j.Settle(row.settle(id)); errors.Is(err, ErrForeign) != row.foreign || !row.foreign && err != nil {
					t.Fatal(err)
				}
			}
			testkit.Check(t, j.Close())
			l := mustContents(t, s.dir)
			testkit.Check(t, l.Check())
			if uint64(len(l.Pending.Records)) != row.backlog || uint64(len(l.Quarantined)) != row.quarantined {
				t.Fatalf("%d pending, %d in quarantine; want %d, %d", len(l.Pending.Records), len(l.Quarantined), row.backlog, row.quarantined)
			}
		})
	}
}

func TestEpochsBeginAndEnd(t *testing.T) {
	for _, row := range []struct {
		rule   string
		change func(s *fixture, j **Journal)
		epochs int
	}{
		{"one lasts", func(*fixture, **Journal) {}, 1},
		{"one lasts less than an hour", func(s *fixture, _ **Journal) { s.now = s.now.Add(time.Hour - time.Second) }, 1},
		{"a new one after an hour", func(s *fixture, _ **Journal) { s.now = s.now.Add(time.Hour) }, 2},
		{"a new one on a new day in Seoul", func(s *fixture, _ **Journal) { s.now = day.Of(seoulNoon.Add(12 * time.Hour)).Start() }, 2},
		{"a new one at each start", func(s *fixture, j **Journal) {
			testkit.Check(s.t, (*j).Close())
			*j = s.open()
		}, 2},
		{"a new one for a new key", func(s *fixture, j **Journal) {
			k, err := visit.GenerateSealKey()
			testkit.Check(s.t, err)
			(*j).SetSealKey(k.Public())
		}, 2},
		{"none for the same key", func(s *fixture, j **Journal) { (*j).SetSealKey(s.key.Public()) }, 1},
	} {
		t.Run(row.rule, func(t *testing.T) {
			s := newFixture(t)
			if strings.Contains(row.rule, "Seoul") { // 23:30, so that the hour does not end the epoch
				s.now = seoulNoon.Add(11*time.Hour + 30*time.Minute)
			}
			j := s.open()
			s.mustAppend(j, 2)
			row.change(s, &j)
			s.mustAppend(j, 2)
			l, err := j.Ledger()
			if err == nil {
				err = l.Check()
			}
			if err != nil || len(l.Pending.Epochs) != row.epochs {
				t.Fatalf("%d epochs, want %d; %v", len(l.Pending.Epochs), row.epochs, err)
			}
		})
	}
}

func TestAnEpochGoesWhenNoRecordNeedsIt(t *testing.T) {
	s := newFixture(t)
	j := s.open()
	for range 4 {
		s.mustAppend(j, 2)
		s.now = s.now.Add(time.Hour)
	}
	id := j.Stats().Journal
	epochs := func(want ...uint64) {
		t.Helper()
		var got []uint64
		if err := j.view(func(tx *bolt.Tx) error {
			return tx.Bucket(bucketEpochs).ForEach(func(k, v []byte) error {
				e, err := decodeEpoch(k, v)
				got = append(got, e.First)
				return err
			})
		}); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("epochs begin at %v, want %v", got, want)
		}
	}
	epochs(1, 3, 5, 7)
	settle := func(s visit.Settlement) {
		t.Helper()
		testkit.Check(t, j.Settle(s))
		testkit.Check(t, j.drop(s.Through))
	}
	settle(visit.Settlement{Journal: id, Through: 1})
	epochs(1, 3, 5, 7)
	settle(visit.Settlement{Journal: id, Through: 3, Refused: []visit.Refusal{{Seq: 3}}})
	epochs(3, 5, 7)
	settle(visit.Settlement{Journal: id, Through: 6})
	epochs(3, 7)
	settle(visit.Settlement{Journal: id, Through: 8})
	epochs(3, 7)
	mustDestroy(t, j, day.Of(seoulNoon).DestroyAt(), 1)
	epochs(7)
}

func TestPeekLimits(t *testing.T) {
	s := newFixture(t)
	j := s.open()
	if seg, err := j.Peek(10, 1<<20); err != nil || len(seg.Records) != 0 || seg.Journal != j.Stats().Journal {
		t.Fatalf("an empty journal gives %d records, %v", len(seg.Records), err)
	}
	s.mustAppend(j, 5)
	s.now = s.now.Add(time.Hour)
	s.mustAppend(j, 5)
	size := func() int {
		seg, err := j.Peek(1, 1<<20)
		testkit.Check(t, err)
		return len(seg.Records[0].Data) + recordExtra
	}()
	const epoch = visit.EncSize + epochExtra
	for _, row := range []struct {
		rule                    string
		records, bytes, n, keys int
	}{
		{"all", 100, 1 << 20, 10, 2},
		{"as many as asked for", 3, 1 << 20, 3, 1},
		{"as much as asked for", 100, epoch + 4*size, 4, 1},
		{"a new epoch counts", 100, epoch + 6*size, 5, 1},
		{"and is taken if it fits", 100, 2*epoch + 6*size, 6, 2},
		{"one at least", 100, 1, 1, 1},
		{"none if none are asked for", 0, 1 << 20, 0, 0},
	} {
		t.Run(row.rule, func(t *testing.T) {
			seg, err := j.Peek(row.records, row.bytes)
			if err != nil || len(seg.Records) != row.n || len(seg.Epochs) != row.keys {
				t.Fatalf("%d records, %d epochs, %v; want %d, %d", len(seg.Records), len(seg.Epochs), err, row.n, row.keys)
			}
			testkit.Check(t, seg.Check())
		})
	}
}

func TestWithoutAKeyNothingIsJournalled(t *testing.T) {
	s := newFixture(t)
	opts := s.options()
	opts.SealKey = visit.SealPublicKey{}
	j, err := Open(opts)
	testkit.Check(t, err)
	if err := s.append(j, 1); !errors.Is(err, ErrNoKey) {
		t.Fatal(err)
	}
	j.SetSealKey(s.key.Public())
	s.mustAppend(j, 1)
	testkit.Check(t, j.Close())
	s.checkWhole(newServer(s.key), 0)
}

func TestWaitTellsOfAppendsAndOfWhatWasLeft(t *testing.T) {
	s := newFixture(t)
	j := s.open()
	signalled := func() bool {
		select {
		case <-j.Wait():
			return true
		default:
			return false
		}
	}
	if signalled() {
		t.Fatal("an empty journal signals")
	}
	s.mustAppend(j, 3)
	if !signalled() || signalled() {
		t.Fatal("three appends must give one signal")
	}
	testkit.Check(t, j.Close())
	j = s.open()
	if !signalled() {
		t.Fatal("records left from before the start give no signal")
	}
}

func TestTheTimeFloorIsWhatItWasSetToLastAndSurvives(t *testing.T) {
	s := newFixture(t)
	j := s.open()
	if !j.TimeFloor().IsZero() {
		t.Fatal("a new journal has a floor")
	}
	j.KeepTimeFloor(seoulNoon.Add(time.Hour))
	s.mustAppend(j, 1)
	j.KeepTimeFloor(seoulNoon)
	testkit.Check(t, j.Close())
	j = s.open()
	if !j.TimeFloor().Equal(seoulNoon) {
		t.Fatalf("floor is %v", j.TimeFloor())
	}
	j.KeepTimeFloor(seoulNoon.Add(time.Minute))
	s.mustAppend(j, 1) // makes it durable
	testkit.Check(t, os.WriteFile(filepath.Join(s.dir, "copy"), mustRead(t, filepath.Join(s.dir, fileName)), 0o600))
	testkit.Check(t, j.Close())
	testkit.Check(t, os.Rename(filepath.Join(s.dir, "copy"), filepath.Join(s.dir, fileName)))
	if j = s.open(); !j.TimeFloor().Equal(seoulNoon.Add(time.Minute)) {
		t.Fatalf("floor is %v", j.TimeFloor())
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	testkit.Check(t, err)
	return b
}
