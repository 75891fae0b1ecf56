package journal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

// delivered returns a journal of ten records of which the first eight are settled, the third and the seventh as refused.
func (s *fixture) delivered() *Journal {
	s.t.Helper()
	j := s.open()
	s.mustAppend(j, 5)
	s.now = s.now.Add(time.Hour)
	s.mustAppend(j, 5)
	testkit.Check(s.t, j.Settle(visit.Settlement{
		Journal: j.Stats().Journal, Through: 8, Refused: []visit.Refusal{{Seq: 3, Reason: "malformed"}, {Seq: 7, Reason: "too-old"}},
	}))
	return j
}

func TestWhatWasDeliveredIsNoBacklog(t *testing.T) {
	s := newFixture(t)
	j := s.delivered()
	if st := j.Stats(); st.Backlog != 2 || st.Kept != 8 || st.Quarantined != 2 || !st.Oldest.Equal(s.now) {
		t.Errorf("%+v", st)
	}
	testkit.Check(t, j.Settle(visit.Settlement{Journal: j.Stats().Journal, Through: 10}))
	if st := j.Stats(); st.Backlog != 0 || st.Kept != 10 || !st.Oldest.IsZero() {
		t.Errorf("drained: %+v", st)
	}
	if seg, err := j.Peek(10, 1<<20); err != nil || len(seg.Records) != 0 {
		t.Errorf("drained, %d records are to be delivered, %v", len(seg.Records), err)
	}
}

func TestAServerThatAsksAgainGetsWhatIsKept(t *testing.T) {
	for _, row := range []struct {
		rule        string
		after       uint64
		prepare     func(s *fixture, j *Journal)
		n           uint64
		quarantined uint64 // afterwards
	}{
		{rule: "all of it", after: 0, n: 8},
		{rule: "what follows a sequence", after: 3, n: 5, quarantined: 1},
		{rule: "up to the last refused", after: 7, n: 1, quarantined: 2},
		{rule: "nothing after the last delivered", after: 8, quarantined: 2},
		{rule: "nothing beyond the head", after: 99, quarantined: 2},
		{rule: "what is left of it", after: 0, n: 6, prepare: func(s *fixture, j *Journal) {
			testkit.Check(s.t, j.drop(2))
			testkit.Check(s.t, j.Settle(visit.Settlement{Journal: j.state.id, Through: 8})) // changes nothing
			if _, err := j.Resend(j.state.id, 6); err != nil {
				s.t.Fatal(err)
			}
			testkit.Check(s.t, j.Settle(visit.Settlement{Journal: j.state.id, Through: 8, Refused: []visit.Refusal{{Seq: 8}}}))
		}},
		{rule: "nothing that is no longer kept", after: 0, quarantined: 2, prepare: func(s *fixture, j *Journal) {
			testkit.Check(s.t, j.drop(8))
		}},
	} {
		t.Run(row.rule, func(t *testing.T) {
			s := newFixture(t)
			j := s.delivered()
			if row.prepare != nil {
				row.prepare(s, j)
			}
			before := j.Stats()
			n, err := j.Resend(before.Journal, row.after)
			if err != nil || n != row.n {
				t.Fatalf("%d records, %v; want %d", n, err, row.n)
			}
			testkit.Check(t, j.Close())
			l := mustContents(t, s.dir)
			testkit.Check(t, l.Check())
			if got := uint64(len(l.Pending.Records)); got != 2+row.n || uint64(len(l.Quarantined)) != row.quarantined {
				t.Fatalf("%d pending, %d in quarantine; want %d, %d", got, len(l.Quarantined), 2+row.n, row.quarantined)
			}
			if before.Kept-row.n != l.Kept {
				t.Errorf("%d are kept, of %d before", l.Kept, before.Kept)
			}
		})
	}
}

func TestAnotherJournalsRecordsAreNotResent(t *testing.T) {
	s := newFixture(t)
	j := s.delivered()
	if n, err := j.Resend(visit.JournalID{9}, 0); n != 0 || !errors.Is(err, ErrForeign) {
		t.Fatalf("%d, %v", n, err)
	}
}

// A server restored to any earlier state takes what comes again as the continuation of what it knows: the same bytes, the
// same chain.
func TestResentRecordsContinueTheServersChain(t *testing.T) {
	for known := uint64(0); known <= 10; known++ {
		s := newFixture(t)
		j := s.open()
		srv := newServer(s.key)
		s.mustAppend(j, 10)
		if known > 0 {
			seg, err := j.Peek(int(known), 1<<20)
			testkit.Check(t, err)
			testkit.Check(t, srv.take(seg))
		}
		lost := newServer(s.key) // whose later state is lost
		testkit.Check(t, lost.drain(j, 3))
		if _, err := j.Resend(j.Stats().Journal, known); err != nil {
			t.Fatal(err)
		}
		testkit.Check(t, srv.drain(j, 4))
		s.checkStored(srv)
		testkit.Check(t, j.Close())
		s.checkWhole(srv, 0)
	}
}

func TestDeliveredRecordsAreKeptForThreeWholeDays(t *testing.T) {
	today := day.Of(seoulNoon)
	for _, row := range []struct {
		rule string
		seen time.Time // first look after the delivery
		at   time.Time
		kept uint64
	}{
		{"to the end of the third day", seoulNoon, (today + 4).Start().Add(-time.Second), 8},
		{"no longer", seoulNoon, (today + 4).Start(), 0},
		{"counted from when it was seen by a clock that is trusted", (today + 2).Start(), (today + 6).Start().Add(-time.Second), 8},
		{"and then no longer", (today + 2).Start(), (today + 6).Start(), 0},
		{"not for a clock that was weeks ahead", seoulNoon.AddDate(0, 0, 20), (today + 4).Start().Add(-time.Second), 8},
		{"at the end of their own retention", today.DestroyAt().Add(-time.Second), today.DestroyAt(), 0},
	} {
		t.Run(row.rule, func(t *testing.T) {
			s := newFixture(t)
			j := s.delivered()
			testkit.Check(t, j.Forget(row.seen))
			if row.seen.After(row.at) {
				testkit.Check(t, j.Forget(seoulNoon))
			}
			testkit.Check(t, j.Forget(row.at.Add(-time.Hour)))
			testkit.Check(t, j.Close())
			j = s.open()
			testkit.Check(t, j.Forget(row.at))
			if st := j.Stats(); st.Kept != row.kept || st.Backlog != 2 {
				t.Errorf("%d are kept, want %d; backlog %d", st.Kept, row.kept, st.Backlog)
			}
			l, err := j.Ledger()
			testkit.Check(t, err)
			testkit.Check(t, l.Check())
			s.checkStructure(j)
		})
	}
}

// Each hour's deliveries go for themselves, and what is delivered later is kept longer.
func TestALaterDeliveryIsKeptLonger(t *testing.T) {
	s := newFixture(t)
	j := s.open()
	id := j.Stats().Journal
	for d := range 6 {
		s.mustAppend(j, 4)
		testkit.Check(t, j.Settle(visit.Settlement{Journal: id, Through: uint64(4*d + 4)}))
		testkit.Check(t, j.Forget(s.now))
		testkit.Check(t, j.Forget(s.now.Add(10*time.Minute)))
		s.now = s.now.AddDate(0, 0, 1)
		if st := j.Stats(); st.Kept != uint64(4*min(d+1, KeepDays+1)) {
			t.Errorf("on day %d %d are kept", d, st.Kept)
		}
	}
}

func TestAChangedByteInADeliveredRecordCostsOnlyWhatIsKept(t *testing.T) {
	s := newFixture(t)
	j := s.delivered()
	l, err := j.Ledger()
	testkit.Check(t, err)
	if _, err := j.Resend(l.Journal, 0); err != nil {
		t.Fatal(err)
	}
	seg, err := j.Peek(10, 1<<20)
	testkit.Check(t, err)
	testkit.Check(t, j.Settle(visit.Settlement{Journal: l.Journal, Through: 8}))
	testkit.Check(t, j.Close())
	path := filepath.Join(s.dir, fileName)
	file := mustRead(t, path)
	data := string(seg.Records[4].Data)
	changed := strings.ReplaceAll(string(file), data, "x"+data[1:])
	testkit.Check(t, os.WriteFile(path, []byte(changed), 0o600))
	j = s.open()
	st := j.Stats()
	if st.Kept != 0 || st.Backlog != 2 || !strings.Contains(st.Damage, "delivered record") {
		t.Errorf("%+v", st)
	}
	after, err := j.Ledger()
	testkit.Check(t, err)
	testkit.Check(t, after.Check())
	if after.Tail.Chain != l.Tail.Chain {
		t.Error("the chain that the server knows has changed")
	}
	testkit.Check(t, j.Close())
	s.open()
}

// A file set aside has no day that anybody knows: four weeks count from when a trusted clock sees it first.
func TestFilesSetAsideEndWithTheirRetention(t *testing.T) {
	s := newFixture(t)
	j := s.open()
	for _, name := range []string{"journal-19700101T000000Z.damaged", "journal-20260310T030000Z-2.elsewhere"} {
		testkit.Check(t, os.WriteFile(filepath.Join(s.dir, name), []byte("bytes"), 0o600))
	}
	today := day.Of(seoulNoon)
	aside := func(rule string, at time.Time, want ...string) {
		t.Helper()
		testkit.Check(t, j.endAside(at))
		var got []string
		for _, path := range j.Stats().Replaced {
			got = append(got, filepath.Base(path))
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: %v, want %v", rule, got, want)
		}
	}
	dated := []string{"journal-19700101T000000Z-until-2026-04-08.damaged", "journal-20260310T030000Z-2-until-2026-04-08.elsewhere"}
	aside("a clock that is ahead", seoulNoon.AddDate(3, 0, 0),
		strings.ReplaceAll(dated[0], "2026-04-08", "2029-04-08"), strings.ReplaceAll(dated[1], "2026-04-08", "2029-04-08"))
	aside("and is put right", seoulNoon, dated...)
	aside("on the last day", today.DestroyAt().Add(-time.Second), dated...)
	testkit.Check(t, os.Remove(filepath.Join(s.dir, dated[1])))
	if st := j.Stats(); len(st.Replaced) != 1 {
		t.Errorf("a file that was taken away is still told of: %v", st.Replaced)
	}
	aside("after it", today.DestroyAt())
	if entries, _ := filepath.Glob(filepath.Join(s.dir, "journal-*")); len(entries) > 0 {
		t.Errorf("%v are left", entries)
	}
}
