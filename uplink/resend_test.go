package uplink

import (
	"errors"
	"testing"
	"time"

	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// accounting makes the server keep account of the journal as a visit server does: it takes what continues what it holds,
// and asks for the rest.
type accounting struct {
	b    *drainFixture
	last uint64
	gaps int
	asks int
}

func newAccounting(b *drainFixture) *accounting {
	a := &accounting{b: b}
	b.server.onSend = func(batch wire.Batch) (wire.Receipt, error) {
		first := batch.Segment.Records[0].Seq
		if first > a.last+1 && batch.Oldest < first {
			a.asks++
			r := b.server.terms
			r.ServerTime, r.Settled.Journal = time.Now().UnixMilli(), batch.Segment.Journal
			r.Resend = &wire.Resend{Journal: batch.Segment.Journal, After: a.last}
			return r, nil
		}
		if first > a.last+1 {
			a.gaps++
		}
		a.last = max(a.last, batch.Segment.Through())
		return b.server.accept(batch), nil
	}
	b.server.onBeat = func() (wire.Receipt, error) {
		r := b.server.terms
		r.ServerTime = time.Now().UnixMilli()
		if settled := b.settled(); settled > a.last {
			a.asks++
			r.Resend = &wire.Resend{Journal: b.journal.id, After: a.last}
		}
		return r, nil
	}
	return a
}

func (b *drainFixture) settled() uint64 {
	b.journal.mu.Lock()
	defer b.journal.mu.Unlock()
	return uint64(len(b.journal.appended) - len(b.journal.waiting))
}

// restore puts the server back to when it held the journal up to a sequence.
func (a *accounting) restore(last uint64) {
	a.b.change(func() {
		a.last = last
		for seq := range a.b.server.held {
			if seq > last {
				delete(a.b.server.held, seq)
			}
		}
	})
}

func TestARestoredServerGetsBackWhatItHadAcknowledged(t *testing.T) {
	for _, row := range []struct {
		rule     string
		restored uint64
		forgot   uint64 // records that the gate no longer keeps
		arrive   int    // records that arrive after the restoration
		missing  int    // records the server never gets
		gaps     int
	}{
		{rule: "with the next visitor", restored: 2500, arrive: 5},
		{rule: "without any visitor", restored: 2500},
		{rule: "that has lost its account", restored: 0},
		{rule: "that has lost its account, with the next visitor", restored: 0, arrive: 1},
		{rule: "as far as it is kept", restored: 1000, forgot: 2000, arrive: 5, missing: 1000, gaps: 1},
		{rule: "as far as it is kept, without any visitor", restored: 1000, forgot: 2000, missing: 1000, gaps: 1},
		{rule: "not what is no longer kept", restored: 1000, forgot: 3000, arrive: 5, missing: 2000, gaps: 1},
	} {
		t.Run(row.rule, func(t *testing.T) {
			var a *accounting
			b := inBubble(t, 3000, always(1), time.Hour, func(b *drainFixture) {
				b.change(func() { a = newAccounting(b) })
				sleep(10 * time.Minute)
				if n := b.journal.backlog(); n != 0 {
					t.Errorf("%d records are undelivered before the restoration", n)
				}
				a.restore(row.restored)
				b.journal.forget(row.forgot)
				b.journal.append(row.arrive)
			})
			if n := 3000 + row.arrive - len(b.server.held); n != row.missing {
				t.Errorf("the server lacks %d records, want %d", n, row.missing)
			}
			if n := b.journal.backlog(); n != 0 {
				t.Errorf("%d records are undelivered", n)
			}
			if a.gaps != row.gaps {
				t.Errorf("the server saw %d gaps, want %d", a.gaps, row.gaps)
			}
			if s := b.status.get(); s.LastError != "" || !s.Reached {
				t.Errorf("status %+v", s)
			}
		})
	}
}

// A server that asks for everything after every batch is not pressed, and its visits are not dropped.
func TestAServerThatAlwaysAsksAgainIsNotPressed(t *testing.T) {
	b := inBubble(t, 10, always(1), 2*time.Hour, func(b *drainFixture) {
		b.change(func() {
			taken := false
			b.server.onSend = func(batch wire.Batch) (wire.Receipt, error) {
				if first := batch.Segment.Records[0].Seq; taken && first > 1 {
					return wire.Receipt{ServerTime: 1, Settled: visit.Settlement{Journal: batch.Segment.Journal},
						Resend: &wire.Resend{Journal: batch.Segment.Journal, After: 0}}, nil
				}
				if taken {
					return wire.Receipt{}, errors.New("down")
				}
				taken = true
				return b.server.accept(batch), nil
			}
		})
		sleep(time.Minute)
		b.journal.append(1)
	})
	if n := len(b.server.sends); n < 10 || n > 60 {
		t.Errorf("%d batches in two hours", n)
	}
	if n := b.journal.backlog(); n == 0 {
		t.Error("the journal was emptied")
	}
}

// A record that was put aside, since the server never takes it, is not sent again however often the server asks.
func TestARecordPutAsideIsNotAskedForForever(t *testing.T) {
	var a *accounting
	b := inBubble(t, 100, always(1), 6*time.Hour, func(b *drainFixture) {
		b.change(func() {
			a = newAccounting(b)
			take := b.server.onSend
			b.server.onSend = func(batch wire.Batch) (wire.Receipt, error) {
				for _, r := range batch.Segment.Records {
					if r.Seq == 50 {
						return wire.Receipt{}, &refusal{problem: &wire.Problem{Code: wire.CodeBadRequest}, status: 400}
					}
				}
				return take(batch)
			}
		})
		for range 5 {
			sleep(time.Hour)
			b.journal.append(1)
		}
	})
	if n := b.journal.backlog(); n != 0 || len(b.server.held) != 104 || a.gaps != 1 {
		t.Errorf("%d records are undelivered, the server holds %d of 105 and saw %d gaps", n, len(b.server.held), a.gaps)
	}
	if b.journal.resends > 40 {
		t.Errorf("%d times sent again", b.journal.resends)
	}
}
