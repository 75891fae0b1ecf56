package firmware

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/firmware/clock"
	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/firmware/replay"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
)

// errStalled is what is wrong with a disk that does not answer in time.
var errStalled = fmt.Errorf("the disk has not taken a visit within %v", answerLimit)

// record journals the code's visit unless this gate already has, and adds to the facts what became of it by the time the
// visitor is to be answered. Two readers that see one code at once are told apart here: the second waits for what becomes
// of the first. A visit that becomes durable later is kept, and its code, shown again, is admitted then.
func (g *Gate) record(ctx context.Context, journal Journal, code token.Code, at clock.Reading, f drivers.Read, facts Facts) Facts {
	limited, cancel := context.WithDeadline(ctx, f.At.Add(answerLimit))
	defer cancel()
	keep := token.Lifetime + 2*clock.MaxSkew // the clock may lose its trust meanwhile
	if at.State == visit.ClockUntrusted {
		keep = untrustedKeep
	}
	for limited.Err() == nil {
		c, mine := g.replays.Claim(code.Issuer(), code.CTI(), keep)
		if mine {
			select {
			case g.claimed <- struct{}{}:
			default:
			}
			g.appends.Go(func() { g.append(limited, journal, code, at, c) })
		}
		select {
		case <-c.Settled():
		case <-limited.Done():
			g.stall(limited, c)
		}
		if limited.Err() != nil || mine && !c.Durable() {
			return facts
		}
		if !c.Durable() {
			continue
		}
		admission, err := g.replays.Admit(c, f.Reader, f.At)
		g.remembered(err)
		facts.Durable, facts.Seen, facts.Recent = true, admission != replay.First, admission == replay.Recent
		return facts
	}
	return facts
}

// append journals the visit and settles its claim. On a stalled disk it returns long after anybody has waited for it.
func (g *Gate) append(ctx context.Context, journal Journal, code token.Code, at clock.Reading, c *replay.Claim) {
	when := timeOf(code, at)
	_, err := journal.Append(ctx, visit.Visit{
		At: when.UTC().Truncate(time.Millisecond), Issuer: code.Issuer(), CTI: visit.CTI(code.CTI()),
		Clock: at.State, Skew: at.Skew.Truncate(time.Millisecond), StaleTrust: g.opts.Trust.Stale(when),
	})
	g.mu.Lock()
	defer g.mu.Unlock()
	g.replays.Settle(c, err == nil)
	delete(g.stalled, c)
	switch {
	case err == nil:
		g.opts.Board.Clear(health.JournalFailed, "")
	case errors.Is(err, context.Canceled):
	case errors.Is(err, context.DeadlineExceeded):
		g.opts.Board.Set(health.JournalFailed, "", errStalled.Error())
	default:
		g.opts.Board.Set(health.JournalFailed, "", err.Error())
	}
}

// timeOf returns when the visit of a fresh code took place: now, or while the clock is not trusted, when the code was
// issued. Its issuer signed that, and it is seconds before the scan; what the clock says may be years off.
func timeOf(code token.Code, at clock.Reading) time.Time {
	if at.State == visit.ClockUntrusted {
		return code.IssuedAt()
	}
	return at.Now
}

// stall notes that an append has not returned in time. Until it does the gate is out of service: the visitors who come
// meanwhile need not wait to be told so, nor does the disk get more than it can take.
func (g *Gate) stall(limited context.Context, c *replay.Claim) {
	if !errors.Is(limited.Err(), context.DeadlineExceeded) { // the gate ends
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-c.Settled():
	default:
		g.stalled[c] = true
		g.opts.Board.Set(health.JournalFailed, "", errStalled.Error())
	}
}
