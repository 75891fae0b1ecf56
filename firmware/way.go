package firmware

import (
	"context"
	"log/slog"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/firmware/health"
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
	code, err := verify(s.read.Data, g.opts.Trust)
	facts := Facts{Authenticity: authenticityOf(err)}
	if facts.Authenticity == Genuine {
		g.opts.Clock.Evidence(code.Issuer(), code.IssuedAt(), time.Since(s.read.At))
	} else {
		g.opts.Logger.Debug("refused", "read", s.read, "error", err)
	}
	at := g.opts.Clock.Read()                   // after the evidence, which may change it
	at.Now = at.Now.Add(-time.Since(s.read.At)) // the moment it was read, however long it has waited
	journal := g.service(at)
	if facts.InService = journal != nil; facts.Authenticity == Genuine {
		facts.Freshness, at = freshness(code, at, g.opts.Clock, g.opts.RefuseUntrusted)
	}
	wanted := facts
	wanted.Durable = true
	if Decide(wanted) != visit.Admitted {
		s.outcome <- Decide(facts)
		return
	}
	g.appends.Go(func() { s.outcome <- Decide(g.record(ctx, journal, code, at, s.read, facts)) })
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
	g.count(o, f)
	cue := g.cueOf(o, f.Reader, f.At, by)
	for _, d := range g.dispatchers {
		d.offer(cue)
	}
	if g.opts.Display != nil {
		g.opts.Display.Show(o, f.Reader, cue.Hold, by)
	}
	level := slog.LevelInfo
	if o == visit.NotACode { // a noisy line must not fill the log; the screen counts them
		level = slog.LevelDebug
	}
	g.opts.Logger.Log(context.Background(), level, "scan", "outcome", o.String(), "reader", f.Reader,
		"duration", time.Since(f.At).Round(10*time.Microsecond))
}

// count notes when every code is refused, and when one is admitted again.
func (g *Gate) count(o visit.Outcome, f drivers.Read) {
	switch all, as, changed := g.refusals.note(o, f.Data, f.At); {
	case all:
		g.opts.Board.Set(health.AllRefused, "", as)
	case changed:
		g.opts.Board.Clear(health.AllRefused, "")
	}
}
