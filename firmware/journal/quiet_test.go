package journal

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
)

// retention runs the journal's retention until it is told to end.
func retention(t *testing.T, j *Journal, now func() (time.Time, bool)) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		j.RunRetention(ctx, now)
	}()
	return func() { cancel(); <-ended }
}

// passing runs the journal's retention while days pass.
func (s *fixture) passing(j *Journal, days int, trusted bool) {
	s.t.Helper()
	synctest.Test(s.t.(*testing.T), func(t *testing.T) {
		began, from := time.Now(), s.now
		ended := retention(t, j, func() (time.Time, bool) { return from.Add(time.Since(began)), trusted })
		time.Sleep(time.Duration(days) * 24 * time.Hour)
		ended()
	})
	s.now = s.now.AddDate(0, 0, days)
}

// shown returns which of the records the bytes of the journal's directory show.
func (s *fixture) shown(records []visit.Sealed) (seqs []uint64) {
	s.t.Helper()
	entries, err := os.ReadDir(s.dir)
	testkit.Check(s.t, err)
	var all []byte
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(s.dir, e.Name()))
		testkit.Check(s.t, err)
		all = append(all, b...)
	}
	for _, r := range records {
		if bytes.Contains(all, r.Data) {
			seqs = append(seqs, r.Seq)
		}
	}
	return seqs
}

// Whoever takes the gate on a quiet day, and the server's keys as well, learns of no visit that was delivered earlier:
// the file holds no byte of it, in its free pages either.
func TestQuietDaysLeaveNothingOfDeliveredVisits(t *testing.T) {
	for _, row := range []struct {
		name    string
		settled uint64 // of 720
	}{
		{"all delivered", 720},
		{"some refused", 720},
		{"some not delivered yet", 700},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newFixture(t)
			j := s.open()
			var records []visit.Sealed
			for range 12 {
				s.mustAppend(j, 60)
				s.now = s.now.Add(time.Hour)
			}
			for through := uint64(0); through < row.settled; {
				seg, err := j.Peek(50, 1<<20)
				testkit.Check(t, err)
				n := min(len(seg.Records), int(row.settled-through))
				records = append(records, seg.Records[:n]...)
				through = seg.Records[n-1].Seq
				settled := visit.Settlement{Journal: seg.Journal, Through: through}
				if row.name == "some refused" {
					settled.Refused = []visit.Refusal{{Seq: through, Reason: "malformed"}}
				}
				testkit.Check(t, j.Settle(settled))
			}
			if len(s.shown(records)) == 0 {
				t.Fatal("the search finds nothing of what was just delivered")
			}
			if row.name == "some refused" {
				s.passing(j, 30, true)
			} else {
				s.passing(j, 5, true)
			}
			if left := s.shown(records); len(left) > 0 {
				t.Errorf("the file shows %d of %d delivered visits", len(left), len(records))
			}
			if st := j.Stats(); row.name != "some refused" && st.Backlog != 720-row.settled {
				t.Errorf("%d records are undelivered, want %d", st.Backlog, 720-row.settled)
			}
			s.checkStructure(j)
		})
	}
}

// A gate that never knows the time keeps what is not delivered, and nothing else.
func TestQuietDaysWithoutATrustedClock(t *testing.T) {
	s := newFixture(t)
	j := s.open()
	s.mustAppend(j, 50)
	delivered, err := j.Peek(40, 1<<20)
	testkit.Check(t, err)
	testkit.Check(t, j.Settle(visit.Settlement{Journal: delivered.Journal, Through: 40}))
	s.passing(j, 3, false)
	if st := j.Stats(); st.Kept != 40 {
		t.Errorf("after three days %d are kept", st.Kept)
	}
	s.passing(j, 40, false)
	if left := s.shown(delivered.Records); len(left) > 0 {
		t.Errorf("the file shows %d delivered visits", len(left))
	}
	if st := j.Stats(); st.Backlog != 10 || st.Destroyed != 0 {
		t.Errorf("%+v", st)
	}
}
