package uplink

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// fakeServer is a server without a network: it notes when what was sent and answers as told.
type fakeServer struct {
	mu     sync.Mutex
	start  time.Time
	sends  []sentBatch
	beats  []time.Duration
	onSend func(b wire.Batch) (wire.Receipt, error) // nil: everything is stored
	onBeat func() (wire.Receipt, error)
	terms  wire.Receipt // pacing of the usual receipt
	held   map[uint64]bool
	trust  uint64 // of the newest batch
}

// trustHeld is the version of the gate's trust list.
const trustHeld = 7

type sentBatch struct {
	at    time.Duration // since the start
	first uint64
	n     int
}

func (s *fakeServer) SendBatch(_ context.Context, b wire.Batch) (wire.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trust = b.Trust
	s.sends = append(s.sends, sentBatch{time.Since(s.start), b.Segment.Records[0].Seq, len(b.Segment.Records)})
	if s.onSend != nil {
		return s.onSend(b)
	}
	return s.accept(b), nil
}

func (s *fakeServer) accept(b wire.Batch) wire.Receipt {
	r := s.terms
	r.ServerTime = time.Now().UnixMilli()
	r.Settled = visit.Settlement{Journal: b.Segment.Journal, Through: b.Segment.Through()}
	for _, rec := range b.Segment.Records {
		s.held[rec.Seq] = true
	}
	return r
}

func (s *fakeServer) SendHeartbeat(context.Context, wire.Heartbeat) (wire.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beats = append(s.beats, time.Since(s.start))
	if s.onBeat != nil {
		return s.onBeat()
	}
	r := s.terms
	r.ServerTime = time.Now().UnixMilli()
	return r, nil
}

// drainFixture is a drain in a bubble of time.
type drainFixture struct {
	journal *memoryJournal
	server  *fakeServer
	status  statusBoard
	revoked []bool
	faults  []string
	log     testkit.Buffer
}

// inBubble runs a drain for a span of synthetic time while f acts on it from outside.
func inBubble(t *testing.T, records int, draw func() float64, span time.Duration, f func(b *drainFixture)) *drainFixture {
	t.Helper()
	b := &drainFixture{}
	synctest.Test(t, func(t *testing.T) {
		b.journal = newMemoryJournal(records)
		b.server = &fakeServer{start: time.Now(), held: map[uint64]bool{}}
		b.journal.stored = func(r visit.Sealed) bool { return b.server.held[r.Seq] }
		b.status.clock = Options{}.withDefaults().Time
		d := newDrain(drainOptions{
			source: b.journal, server: b.server, status: &b.status, draw: draw, log: slog.New(slog.NewTextHandler(&b.log, nil)),
			trust:     func() uint64 { return trustHeld },
			onReceipt: func(wire.Receipt) {}, onRevoked: func(r bool) { b.revoked = append(b.revoked, r) },
			onUnknown: func() bool { return true }, onExpired: func() {},
			heartbeat: func() wire.Heartbeat {
				b.server.mu.Lock()
				defer b.server.mu.Unlock()
				return wire.Heartbeat{Faults: b.faults, Journal: b.journal.id, Settled: b.settled()}
			},
		})
		ctx, cancel := context.WithTimeout(context.Background(), span)
		defer cancel()
		done := make(chan struct{})
		if f != nil {
			go func() { defer close(done); f(b) }()
		} else {
			close(done)
		}
		synctest.Wait() // f has set the stage and sleeps, or has ended
		d.run(ctx)
		<-done
		if b.journal.early != 0 {
			t.Errorf("%d records were settled without the server having them", b.journal.early)
		}
	})
	return b
}

// sleep lets synthetic time pass and everything come to rest; what the drain did is then seen without a race.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// change changes what the server or the gate does from now on.
func (b *drainFixture) change(f func()) {
	b.server.mu.Lock()
	defer b.server.mu.Unlock()
	f()
}

func (b *drainFixture) gaps() (gaps []time.Duration) {
	for i := range b.server.sends[1:] {
		gaps = append(gaps, b.server.sends[i+1].at-b.server.sends[i].at)
	}
	return gaps
}

func always(x float64) func() float64 { return func() float64 { return x } }
