package firmware

import (
	"context"
	"log/slog"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/firmware/clock"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
)

// way is the way of one reader's scans to their outcomes. They are evaluated in order, wait for the disk side by side, so
// that visitors who come together share a flush, and are announced in order.
type way struct {
	gate    *Gate
	held    *presentations
	entered chan scan
	waiting chan scan // evaluated, and perhaps still being journalled
}

// scan is one presentation.
type scan struct {
	read    drivers.Read
	outcome chan visit.Outcome // receives once
}

func newWay(g *Gate) *way {
	return &way{gate: g, held: newPresentations(), entered: make(chan scan, maxWaiting), waiting: make(chan scan, maxWaiting)}
}

// enter takes what the reader delivers. It never waits.
func (w *way) enter(f drivers.Read) {
	if !w.held.begins(f.Data, f.At) {
		return
	}
	select {
	case w.entered <- scan{f, make(chan visit.Outcome, 1)}:
	default:
		w.gate.announce(visit.OutOfService, f)
	}
}

func (w *way) evaluate(ctx context.Context) {
	for {
		select {
		case s := <-w.entered:
			w.gate.evaluate(ctx, s)
			select {
			case w.waiting <- s:
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (w *way) announce(ctx context.Context) {
	for {
		select {
		case s := <-w.waiting:
			select {
			case o := <-s.outcome:
				w.gate.announce(o, s.read)
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// evaluate finds the outcome of a scan, at once or, where its visit is to be journalled, in a goroutine of its own.
func (g *Gate) evaluate(ctx context.Context, s scan) {
	at := g.opts.Clock.Read()
	at.Now = at.Now.Add(-time.Since(s.read.At)) // the moment it was read, however long it has waited
	journal := g.service(at)
	facts, code := g.examine(s.read, at, journal != nil)
	wanted := facts
	wanted.Durable = true
	if Decide(wanted) != visit.Admitted {
		s.outcome <- Decide(facts)
		return
	}
	g.appends.Go(func() { s.outcome <- Decide(g.record(ctx, journal, code, at, s.read, facts)) })
}

// examine gathers the facts that are known without the journal.
func (g *Gate) examine(f drivers.Read, at clock.Reading, inService bool) (Facts, token.Code) {
	facts := Facts{InService: inService}
	if !inService {
		return facts, token.Code{}
	}
	code, err := verify(f.Data, g.opts.Trust)
	if facts.Authenticity = authenticityOf(err); facts.Authenticity != Genuine {
		g.opts.Logger.Debug("refused", "read", f, "error", err)
		return facts, token.Code{}
	}
	g.opts.Clock.Evidence(code.Issuer(), code.IssuedAt())
	facts.Freshness = freshness(code, at, g.opts.Clock)
	return facts, code
}

func verify(text []byte, trust token.Keyring) (token.Code, error) {
	u, err := token.Parse(text)
	if err != nil {
		return token.Code{}, err
	}
	return u.Verify(trust)
}

// announce hands the outcome to everything that shows it; none of it can hold the gate up. What took too long, however it
// came about, is not shown green.
func (g *Gate) announce(o visit.Outcome, f drivers.Read) {
	by := f.At.Add(greenLimit)
	if o.Green() && !time.Now().Before(by) {
		o = visit.OutOfService
	}
	if !o.Green() {
		by = time.Time{}
	}
	cue := cueOf(o, f.Reader, f.At, by, g.opts.Languages)
	for _, d := range g.dispatchers {
		d.offer(cue)
	}
	if g.opts.Display != nil {
		g.opts.Display.Show(o, f.Reader, hold, by)
	}
	level := slog.LevelInfo
	if o == visit.NotACode { // a noisy line must not fill the log; the screen counts them
		level = slog.LevelDebug
	}
	g.opts.Logger.Log(context.Background(), level, "scan", "outcome", o.String(), "reader", f.Reader,
		"duration", time.Since(f.At).Round(10*time.Microsecond))
}
