package journal

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

// seoulNoon is a moment far from any change of day.
var seoulNoon = time.Date(2026, 3, 10, 12, 0, 0, 0, day.Seoul())

// fixture is what a journal needs: directory, server key and the truth about what was acknowledged.
type fixture struct {
	t     testing.TB
	dir   string
	key   visit.SealPrivateKey
	now   time.Time
	acked map[visit.CTI]bool
	mu    sync.Mutex

	openers map[string]*visit.Opener // encapsulated key → opener
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	key, err := visit.GenerateSealKey()
	testkit.Check(t, err)
	return &fixture{t: t, dir: t.TempDir(), key: key, now: seoulNoon, acked: map[visit.CTI]bool{}, openers: map[string]*visit.Opener{}}
}

func (s *fixture) options() Options {
	return Options{
		Dir: s.dir, Facility: "hall-1", Gate: "north", SealKey: s.key.Public(), FreeFloor: 1,
		Now: func() time.Time { return s.now }, Logger: slog.New(slog.DiscardHandler),
	}
}

func (s *fixture) open() *Journal {
	s.t.Helper()
	j, err := Open(s.options())
	testkit.Check(s.t, err)
	s.t.Cleanup(func() { _ = j.Close() })
	return j
}

func (s *fixture) visit() visit.Visit {
	v := visit.Visit{At: s.now, Issuer: "naver", Clock: visit.ClockSynced, Skew: 2 * time.Second}
	_, _ = rand.Read(v.CTI[:])
	return v
}

// append journals n visits and remembers those that were acknowledged. It returns the last error.
func (s *fixture) append(j *Journal, n int) (last error) {
	for range n {
		v := s.visit()
		if _, err := j.Append(s.t.Context(), v); err != nil {
			last = err
			continue
		}
		s.mu.Lock()
		s.acked[v.CTI] = true
		s.mu.Unlock()
	}
	return last
}

func (s *fixture) mustAppend(j *Journal, n int) {
	s.t.Helper()
	testkit.Check(s.t, s.append(j, n))
}

// server plays the visit server: it opens what a gate hands over and keeps every code.
type server struct {
	key    visit.SealPrivateKey
	stored map[visit.CTI]int
	heads  map[visit.JournalID]Position
	nonces map[string][]byte // epoch and sequence → sealed bytes
}

func newServer(key visit.SealPrivateKey) *server {
	return &server{key: key, stored: map[visit.CTI]int{}, heads: map[visit.JournalID]Position{}, nonces: map[string][]byte{}}
}

// take opens every record and checks that the chain goes on from where the server knows it, and that no sequence was
// ever sealed twice with different bytes in one epoch.
func (s *server) take(seg visit.Segment) error {
	if err := seg.Check(); err != nil {
		return err
	}
	if len(seg.Records) == 0 {
		return nil
	}
	first := seg.Records[0].Seq
	at, known := s.heads[seg.Journal]
	if !known {
		at = Position{Chain: visit.Genesis(seg.Journal)}
	}
	if at.Seq+1 == first && at.Chain != seg.Prev {
		return fmt.Errorf("the chain before record %d is not the one the server knows", first)
	}
	if at.Seq+1 < first {
		return fmt.Errorf("gap: record %d after %d", first, at.Seq)
	}
	for _, r := range seg.Records {
		e, _ := seg.EpochOf(r.Seq)
		nonce := fmt.Sprint(e.ID(), r.Seq)
		if old, ok := s.nonces[nonce]; ok && !bytes.Equal(old, r.Data) {
			return fmt.Errorf("sequence %d was sealed twice in one epoch", r.Seq)
		}
		s.nonces[nonce] = r.Data
		o, err := visit.NewOpener(s.key, "hall-1", "north", e)
		if err != nil {
			return err
		}
		v, err := o.Open(r.Seq, r.Data)
		if err != nil {
			return err
		}
		if r.Seq > at.Seq {
			s.stored[v.CTI]++
		}
	}
	if h := seg.Through(); h > at.Seq {
		s.heads[seg.Journal] = Position{Seq: h, Chain: seg.Head()}
	}
	return nil
}

// drain hands over everything in segments of n records.
func (s *server) drain(j *Journal, n int) error {
	for {
		seg, err := j.Peek(n, 1<<20)
		if err != nil || len(seg.Records) == 0 {
			return err
		}
		if err := s.take(seg); err != nil {
			return err
		}
		if err := j.Settle(visit.Settlement{Journal: seg.Journal, Through: seg.Through()}); err != nil {
			return err
		}
	}
}

func TestWhatIsAppendedReachesTheServerOnceInOrder(t *testing.T) {
	s := newFixture(t)
	j := s.open()
	srv := newServer(s.key)
	s.mustAppend(j, 25)
	if got := j.Stats(); got.Backlog != 25 || got.Head != 25 {
		t.Fatalf("backlog %d, head %d; want 25, 25", got.Backlog, got.Head)
	}
	testkit.Check(t, srv.drain(j, 7))
	s.mustAppend(j, 5)
	testkit.Check(t, j.Close())
	j = s.open()
	testkit.Check(t, srv.drain(j, 1000))
	s.checkStored(srv)
	l, err := j.Ledger()
	testkit.Check(t, err)
	testkit.Check(t, l.Check())
	if l.Delivered != 30 || l.Head != srv.heads[l.Journal] || l.Tail != l.Head {
		t.Fatalf("ledger %+v", l)
	}
}

// checkStored: every acknowledged visit is with the server, exactly once.
func (s *fixture) checkStored(srv *server) {
	s.t.Helper()
	for cti := range s.acked {
		if n := srv.stored[cti]; n != 1 {
			s.t.Fatalf("an acknowledged visit is stored %d times", n)
		}
	}
}

func TestAfterCloseNothingIsAccepted(t *testing.T) {
	s := newFixture(t)
	j := s.open()
	s.mustAppend(j, 1)
	testkit.Check(t, j.Close())
	if err := s.append(j, 1); !errors.Is(err, ErrClosed) {
		t.Fatalf("append after close: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatalf("second close: %v", err)
	}
}

func contextWithCancel(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}

// waitQueued returns when n appends are queued.
func waitQueued(j *Journal, n int) {
	for {
		j.queueMu.Lock()
		queued := len(j.queue)
		j.queueMu.Unlock()
		if queued == n {
			return
		}
		runtime.Gosched()
	}
}

// note takes in a quarantined record: it opens like any other.
func (s *server) note(q Quarantined) error {
	o, err := visit.NewOpener(s.key, "hall-1", "north", q.Epoch)
	if err != nil {
		return err
	}
	v, err := o.Open(q.Seq, q.Data)
	if err != nil {
		return err
	}
	if s.stored[v.CTI] == 0 {
		s.stored[v.CTI]++
	}
	return nil
}
