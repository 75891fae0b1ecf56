package uplink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

var errDown = errors.New("visit server not reached: connection refused")

func TestBackOffDoublesToFiveMinutes(t *testing.T) {
	down := func(b *drainFixture) {
		b.server.onSend = func(wire.Batch) (wire.Receipt, error) { return wire.Receipt{}, errDown }
	}
	b := inBubble(t, 10, always(1), time.Hour, down)
	for i, gap := range b.gaps() {
		want := min(time.Second<<min(i, 20), 5*time.Minute)
		if gap != want {
			t.Errorf("delay %d is %v, want %v", i, gap, want)
		}
	}
	if n := len(b.server.sends); n < 15 || n > 25 {
		t.Errorf("%d attempts in an hour", n)
	}
	t.Run("with full jitter", func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		b := inBubble(t, 10, r.Float64, 24*time.Hour, down)
		var sum time.Duration
		late := b.gaps()[12:]
		for _, gap := range late {
			if gap > 5*time.Minute || gap < minDelay {
				t.Errorf("delay %v", gap)
			}
			sum += gap
		}
		if mean := sum / time.Duration(len(late)); mean < 2*time.Minute || mean > 3*time.Minute {
			t.Errorf("mean delay %v, want about half of five minutes", mean)
		}
	})
	if b.log.Count("connection refused") != 1 {
		t.Errorf("the same failure is logged more than once:\n%s", &b.log)
	}
}

func TestDistinctFailuresAreLoggedOnceThenSuccess(t *testing.T) {
	n := 0
	b := inBubble(t, 10, always(0.5), time.Hour, func(b *drainFixture) {
		b.server.onSend = func(batch wire.Batch) (wire.Receipt, error) {
			switch n++; {
			case n > 9:
				return b.server.accept(batch), nil
			case n%3 == 0:
				return wire.Receipt{}, &net.OpError{Op: "read", Net: "tcp", Source: &net.TCPAddr{Port: 50000 + n}, Err: errors.New("reset by peer")}
			default:
				return wire.Receipt{}, errDown
			}
		}
	})
	if b.log.Count("level=WARN") != 2 || b.log.Count("succeeded after 9 failures") != 1 {
		t.Errorf("log:\n%s", &b.log)
	}
	if s := b.status.get(); b.journal.backlog() != 0 || s.LastError != "" || !s.Reached {
		t.Errorf("status %+v", s)
	}
}

func TestRetryAfterIsObeyedAndBounded(t *testing.T) {
	for _, after := range []time.Duration{3 * time.Second, 90 * time.Second, maxWait} {
		for _, draw := range []float64{0, 1} {
			b := inBubble(t, 10, always(draw), time.Hour, func(b *drainFixture) {
				b.server.onSend = func(wire.Batch) (wire.Receipt, error) { return wire.Receipt{}, &refusal{status: 503, after: after} }
			})
			for _, gap := range b.gaps() {
				if gap < after || gap > after*3/2 {
					t.Errorf("asked for %v, waited %v", after, gap)
				}
			}
			if len(b.gaps()) < 5 {
				t.Errorf("only %d attempts", len(b.gaps()))
			}
		}
	}
}

func TestPacingIsObeyedAndBounded(t *testing.T) {
	for wait, want := range map[uint32]time.Duration{0: 0, 2500: 2500 * time.Millisecond, 1 << 31: maxWait} {
		b := inBubble(t, 5000, always(0), time.Hour, func(b *drainFixture) { b.server.terms.Wait = wait })
		if len(b.server.sends) != 5 || b.journal.backlog() != 0 {
			t.Fatalf("wait %d: %d batches", wait, len(b.server.sends))
		}
		for _, gap := range b.gaps() {
			if gap != want {
				t.Errorf("asked to wait %d ms, waited %v", wait, gap)
			}
		}
	}
}

func TestGathering(t *testing.T) {
	scanEvery := func(d time.Duration, n int) func(*drainFixture) {
		return func(b *drainFixture) {
			sleep(time.Minute)
			for range n {
				b.journal.append(1)
				sleep(d)
			}
		}
	}
	t.Run("the first scan after idling is sent at once", func(t *testing.T) {
		b := inBubble(t, 0, always(0), 2*time.Minute, scanEvery(time.Second, 1))
		if len(b.server.sends) != 1 || b.server.sends[0].at != time.Minute {
			t.Errorf("sent %+v", b.server.sends)
		}
	})
	for asked, want := range map[uint32]time.Duration{0: time.Second, 3000: 3 * time.Second, 60_000: wire.MaxGather} {
		t.Run(fmt.Sprintf("scans are gathered while they come in, asked for %d ms", asked), func(t *testing.T) {
			b := inBubble(t, 0, always(0), 5*time.Minute, func(b *drainFixture) {
				b.server.terms.Gather = asked
				scanEvery(100*time.Millisecond, 600)(b)
			})
			if n, most := len(b.server.sends), int(time.Minute/want)+2; n > most || n < most-3 || b.journal.backlog() != 0 {
				t.Errorf("%d batches in a minute, want about %d", n, most-1)
			}
			for _, gap := range b.gaps() {
				if gap < want || gap > want+200*time.Millisecond {
					t.Errorf("gathered for %v, want %v", gap, want)
				}
			}
		})
	}
	t.Run("a full batch is sent at once", func(t *testing.T) {
		b := inBubble(t, 0, always(0), 2*time.Minute, func(b *drainFixture) {
			sleep(time.Minute)
			b.journal.append(1)
			sleep(300 * time.Millisecond)
			b.journal.append(wire.MaxRecords)
		})
		if len(b.server.sends) != 2 || b.gaps()[0] > 500*time.Millisecond {
			t.Errorf("sent %+v", b.server.sends)
		}
	})
}

func TestHeartbeats(t *testing.T) {
	for _, c := range []struct {
		rule   string
		asked  uint32
		faults []string
		want   time.Duration
	}{
		{"every five minutes by default", 0, nil, 5 * time.Minute},
		{"not more often while a fault lasts", 0, []string{"reader-lost"}, 5 * time.Minute},
		{"at the period the server asks for", 600, nil, 10 * time.Minute},
		{"more often if the server asks for that", 20, []string{"reader-lost"}, 20 * time.Second},
		{"at least every hour", 1 << 30, nil, time.Hour},
	} {
		t.Run(c.rule, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 4))
			const day = 24 * time.Hour
			b := inBubble(t, 0, r.Float64, day, func(b *drainFixture) { b.faults, b.server.terms.Heartbeat = c.faults, c.asked })
			if b.server.beats[0] > startSpread {
				t.Errorf("first after %v", b.server.beats[0])
			}
			distinct := map[time.Duration]bool{}
			for i := range b.server.beats[1:] {
				gap := b.server.beats[i+1] - b.server.beats[i]
				distinct[gap] = true
				if gap < c.want*9/10 || gap > c.want*11/10 {
					t.Errorf("gap of %v, want %v ± 10 %%", gap, c.want)
				}
			}
			if n := len(b.server.beats); n < int(day/c.want)*9/10 || len(distinct) < 2 {
				t.Errorf("%d heartbeats with %d different gaps", n, len(distinct))
			}
		})
	}
	t.Run("faults that come up and end are told within about a minute, and once", func(t *testing.T) {
		b := inBubble(t, 0, always(0.5), 59*time.Minute, func(b *drainFixture) {
			b.change(func() { b.server.terms.Heartbeat = 3600 })
			for _, faults := range [][]string{{"offline"}, {"offline", "reader-lost"}, {"reader-lost"}, {}} {
				sleep(10*time.Minute + 30*time.Second)
				b.change(func() { b.faults = faults })
			}
		})
		if len(b.server.beats) != 5 {
			t.Fatalf("heartbeats at %v, want one at the start and one for each of four changes", b.server.beats)
		}
		for n, at := range b.server.beats[1:] {
			changed := time.Duration(n+1) * (10*time.Minute + 30*time.Second)
			if at < changed || at > changed+70*time.Second {
				t.Errorf("told at %v what changed at %v", at, changed)
			}
		}
	})
	t.Run("a server that takes no heartbeats still gets visits", func(t *testing.T) {
		b := inBubble(t, 0, always(1), time.Hour, func(b *drainFixture) {
			b.server.onBeat = func() (wire.Receipt, error) {
				return wire.Receipt{}, &refusal{problem: &wire.Problem{Code: wire.CodeBadRequest}, status: 400}
			}
			sleep(30*time.Minute + time.Second)
			b.journal.append(1)
		})
		if len(b.server.sends) != 1 || b.server.sends[0].at != 30*time.Minute+time.Second {
			t.Errorf("sent %+v", b.server.sends)
		}
		if n := len(b.server.beats); n < 10 || n > 25 {
			t.Errorf("%d heartbeats in an hour", n)
		}
	})
}

func TestRevokedKeepsTryingSlowlyAndDropsNothing(t *testing.T) {
	no := true
	r := rand.New(rand.NewPCG(5, 6))
	b := inBubble(t, 1500, r.Float64, 14*time.Hour, func(b *drainFixture) {
		b.server.onSend = func(batch wire.Batch) (wire.Receipt, error) {
			if no {
				return wire.Receipt{}, &refusal{problem: &wire.Problem{Code: wire.CodeRevoked}, status: 403}
			}
			return b.server.accept(batch), nil
		}
		sleep(12 * time.Hour)
		if s := b.status.get(); !s.Revoked || !s.Reached || b.journal.backlog() != 1500 || !strings.Contains(s.LastError, "revoked") {
			t.Errorf("status %+v", s)
		}
		for _, gap := range b.gaps() {
			if gap < maxDelay/2 || gap > maxDelay {
				t.Errorf("tried again after %v", gap)
			}
		}
		b.change(func() { no = false })
	})
	if s := b.status.get(); s.Revoked || s.LastError != "" || b.journal.backlog() != 0 || !b.revoked[0] || b.revoked[len(b.revoked)-1] {
		t.Errorf("status %+v", s)
	}
}

// Records the server calls malformed are found by halving and put into quarantine; all others are delivered.
func TestMalformedRecordsArePutAsideAlone(t *testing.T) {
	for _, code := range []string{wire.CodeBadRequest, wire.CodeTooLarge} {
		bad := map[uint64]bool{1: true, 700: true, 701: true, 702: true, 3000: true}
		b := inBubble(t, 3000, always(1), time.Hour, func(b *drainFixture) {
			b.journal.stored = func(r visit.Sealed) bool { return b.server.held[r.Seq] || bad[r.Seq] }
			b.server.onSend = refusing(b, code, bad)
		})
		if s := b.status.get(); s.Blocked != 0 || s.LastError != "" || b.journal.backlog() != 0 || len(b.server.held) != 3000-len(bad) {
			t.Errorf("%s: status %+v, backlog %d, the server holds %d", code, s, b.journal.backlog(), len(b.server.held))
		}
		if len(b.journal.quarantine) != len(bad) || b.journal.quarantine[700] != code {
			t.Errorf("%s: in quarantine: %v", code, b.journal.quarantine)
		}
		if n := b.log.Count("is put aside"); n != len(bad) {
			t.Errorf("%s: told %d times", code, n)
		}
	}
}

// refusing answers no batch with one of these records in it.
func refusing(b *drainFixture, code string, bad map[uint64]bool) func(wire.Batch) (wire.Receipt, error) {
	return func(batch wire.Batch) (wire.Receipt, error) {
		for _, r := range batch.Segment.Records {
			if bad[r.Seq] {
				return wire.Receipt{}, &refusal{problem: &wire.Problem{Code: code}, status: 400}
			}
		}
		return b.server.accept(batch), nil
	}
}

// A server that calls everything malformed is at fault itself: the journal is kept, told of, and holds up no heartbeats.
func TestAServerThatTakesNoRecordEmptiesNoJournal(t *testing.T) {
	bad := map[uint64]bool{}
	for seq := range uint64(3000) {
		bad[seq+1] = true
	}
	b := inBubble(t, 3000, always(1), 4*time.Hour, func(b *drainFixture) {
		b.journal.stored = nil
		b.server.onSend = refusing(b, wire.CodeBadRequest, bad)
		sleep(2 * time.Hour)
		if s := b.status.get(); s.Blocked != maxAside+1 || !s.Reached || s.LastError == "" {
			t.Errorf("status %+v", s)
		}
		if b.journal.backlog() != 3000-maxAside {
			t.Errorf("backlog %d", b.journal.backlog())
		}
		if n := len(b.server.sends); n < 30 || n > 75 {
			t.Errorf("%d batches in two hours", n)
		}
		if n := len(b.server.beats); n < 15 {
			t.Errorf("%d heartbeats in two hours", n)
		}
		b.change(func() { clear(bad) })
	})
	if s := b.status.get(); s.Blocked != 0 || s.LastError != "" || b.journal.backlog() != 0 || len(b.server.held) != 3000-maxAside {
		t.Errorf("status %+v, backlog %d", s, b.journal.backlog())
	}
}

func TestJournalThatCannotSettleStopsSending(t *testing.T) {
	b := inBubble(t, 2000, always(1), time.Hour, func(b *drainFixture) {
		for range 8 {
			b.journal.settleErrs = append(b.journal.settleErrs, settleFault{before: errors.New("input/output error")})
		}
		sleep(90 * time.Second) // 1, 2, 4, … s: six attempts have failed
		b.journal.mu.Lock()
		settles := b.journal.settles
		b.journal.mu.Unlock()
		b.change(func() {
			if n := len(b.server.sends); n != 1 || settles < 6 || settles > 8 {
				t.Errorf("%d batches sent, %d settlements tried", n, settles)
			}
		})
		if s := b.status.get(); !strings.Contains(s.LastError, "input/output error") || !s.Reached {
			t.Errorf("status %+v", s)
		}
	})
	if len(b.server.sends) != 2 || b.journal.backlog() != 0 || b.status.get().LastError != "" {
		t.Errorf("sent %+v, backlog %d", b.server.sends, b.journal.backlog())
	}
}

func TestServerThatStoresNothingIsNotPressed(t *testing.T) {
	b := inBubble(t, 2000, always(1), time.Hour, func(b *drainFixture) {
		b.server.onSend = func(batch wire.Batch) (wire.Receipt, error) {
			return wire.Receipt{ServerTime: 1, Settled: visit.Settlement{Journal: batch.Segment.Journal}}, nil
		}
	})
	if n := len(b.server.sends); n > 25 || n < 10 || b.journal.backlog() != 2000 || b.status.get().Blocked != 1 {
		t.Errorf("%d batches in an hour, backlog %d", n, b.journal.backlog())
	}
}

func TestSlowLinkGetsLessAtATime(t *testing.T) {
	b := inBubble(t, 1000, always(0), time.Hour, func(b *drainFixture) {
		b.server.onSend = func(batch wire.Batch) (wire.Receipt, error) {
			if len(batch.Segment.Records) > 100 {
				return wire.Receipt{}, fmt.Errorf("%w: %w", errSlow, context.DeadlineExceeded)
			}
			return b.server.accept(batch), nil
		}
	})
	if b.journal.backlog() != 0 {
		t.Errorf("backlog %d", b.journal.backlog())
	}
}

func TestAlertsAreKept(t *testing.T) {
	alerts := [][]string{{"gap"}, nil, {"fork", "gap"}, nil}
	n := 0
	b := inBubble(t, 4000, always(0), time.Minute, func(b *drainFixture) {
		b.server.onSend = func(batch wire.Batch) (wire.Receipt, error) {
			r := b.server.accept(batch)
			r.Alerts = alerts[n]
			n++
			return r, nil
		}
	})
	if got := fmt.Sprint(b.status.get().Alerts); got != "[fork gap]" {
		t.Errorf("alerts %s", got)
	}
}

func TestABatchNamesTheTrustListThatTheGateGoesBy(t *testing.T) {
	b := inBubble(t, 1, always(1), time.Hour, nil)
	if b.server.trust != trustHeld || len(b.server.held) != 1 {
		t.Errorf("trust list %d is named, want %d; %d records", b.server.trust, trustHeld, len(b.server.held))
	}
}
