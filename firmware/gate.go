// Package firmware is the gate: what a reader delivers is verified, decided, journalled and only then shown.
//
//	Read → presentation → Parse → Verify → Decide → journal (fsync) → Decide → Cue → lights, voice, relay, screen
//
// Nothing on this way waits for the network, and nothing green comes before the journal has said that the visit is on
// the disk.
package firmware

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/firmware/clock"
	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
)

// Journal makes a visit durable. Append returns once it is on the disk, or with an error: then it may be there or not.
type Journal interface {
	Append(ctx context.Context, v visit.Visit) (seq uint64, err error)
}

// Trust is the trust list in force.
type Trust interface {
	token.Keyring
	Stale(now time.Time) bool
}

// Clock tells the time and how well it is known, and learns from genuine codes that it is at least their time of issue.
// MayBeFresh is all it can say of a code while it is untrusted.
type Clock interface {
	Read() clock.Reading
	Evidence(issuer string, iat time.Time)
	MayBeFresh(issuer string, iat time.Time, life time.Duration) bool
}

// Display is the visitor's screen. Show never blocks.
type Display interface {
	Show(o visit.Outcome, lane string, hold time.Duration)
}

// Lane joins an indicator to the reader it serves.
type Lane struct {
	Indicator drivers.Indicator
	Reader    string // name of the reader; empty for all
}

// Options are what a gate is made of. All are required but Indicators and Display, and where a default is
// told.
type Options struct {
	Readers         []drivers.Reader
	Indicators      []Lane
	Display         Display
	Trust           Trust
	Clock           Clock
	RefuseUntrusted bool     // whether the gate is out of service while its clock is untrusted
	Languages       []string // of the voice, one or two, in order
	Board           *health.Board
	CheckEvery      time.Duration // how often devices are asked whether they would work, default 500 ms
	Logger          *slog.Logger
}

// Gate is one gate with its readers and indicators.
type Gate struct {
	opts        Options
	dispatchers []*dispatcher
	replays     *replaySet

	mu      sync.Mutex
	journal Journal // nil until the gate is enrolled
	revoked bool
}

const (
	checkEvery  = 500 * time.Millisecond
	appendLimit = 2 * time.Second // a slower disk is a broken one to the visitor who waits
	maxWaiting  = 16              // frames of one reader that may wait while the disk is slow
	// untrustedKeep is how long a code is remembered while the clock cannot tell when it expires.
	untrustedKeep = time.Hour
)

// New returns a gate that is out of service until [Gate.Use] gives it a journal.
func New(opts Options) *Gate {
	if opts.CheckEvery == 0 {
		opts.CheckEvery = checkEvery
	}
	g := &Gate{opts: opts, replays: newReplaySet()}
	for _, l := range opts.Indicators {
		g.dispatchers = append(g.dispatchers, newDispatcher(l, g.idle, opts.Board, opts.CheckEvery))
	}
	return g
}

// Use puts the gate into service with the journal.
func (g *Gate) Use(j Journal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.journal = j
}

// Revoke takes the gate out of service, or back, as the server says.
func (g *Gate) Revoke(revoked bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.revoked = revoked
}

// InService reports whether a genuine code would be tried at all.
func (g *Gate) InService() bool { return g.service(g.opts.Clock.Read()) != nil }

// Serves reports whether visitors may be asked to show their codes: the gate is in service, no fault means the contrary,
// and at least one reader is there to see them.
func (g *Gate) Serves() bool {
	faults := g.opts.Board.Shown() // the worst first
	if !g.InService() || len(faults) > 0 && health.KindOf(faults[0].Code).Severity == health.Down {
		return false
	}
	lost := 0
	for _, f := range faults {
		if f.Code == health.ReaderLost {
			lost++
		}
	}
	return lost == 0 || lost < len(g.opts.Readers)
}

// idle is the colour of a gate to which nobody shows a code: red while it serves nobody, as the screen shows it; else none.
func (g *Gate) idle() drivers.Light {
	if g.Serves() {
		return drivers.Dark
	}
	return drivers.Red
}

// service returns the journal if the gate is in service at that moment, else nil. It only asks: the faults behind it
// are noted by those who watch over clock, journal and server.
func (g *Gate) service(at clock.Reading) Journal {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.revoked || at.State == visit.ClockUntrusted && g.opts.RefuseUntrusted {
		return nil
	}
	return g.journal
}

// Run serves all readers until ctx ends, then halts the indicators. Run returns only when every goroutine has ended,
// but for one left in a driver that hangs.
func (g *Gate) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, d := range g.dispatchers {
		group.Go(func() error { d.run(ctx); return nil })
	}
	for _, r := range g.opts.Readers {
		frames := make(chan drivers.Read, maxWaiting)
		held := newPresentations()
		emit := func(f drivers.Read) {
			if !held.begins(f.Data, f.At) {
				return
			}
			select {
			case frames <- f:
			default:
				g.opts.Logger.Debug("frame dropped: earlier ones of this reader are still being served", "read", f)
			}
		}
		group.Go(func() error { supervise(ctx, r, emit, g.opts.Board); return nil })
		group.Go(func() error { watchReader(ctx, r, g.InService, g.opts.Board, g.opts.CheckEvery); return nil })
		group.Go(func() error { g.serve(ctx, frames); return nil })
	}
	group.Go(func() error { <-ctx.Done(); return nil })
	return group.Wait()
}

// serve takes the frames of one reader in order.
func (g *Gate) serve(ctx context.Context, frames <-chan drivers.Read) {
	for {
		select {
		case f := <-frames:
			g.announce(g.evaluate(ctx, f), f)
		case <-ctx.Done():
			return
		}
	}
}

// evaluate is the way of one scan up to its outcome.
func (g *Gate) evaluate(ctx context.Context, f drivers.Read) visit.Outcome {
	at := g.opts.Clock.Read()
	at.Now = at.Now.Add(-time.Since(f.At)) // the moment it was read, however long it has waited
	journal := g.service(at)
	facts := Facts{InService: journal != nil}
	if !facts.InService {
		return Decide(facts)
	}
	code, err := verify(f.Data, g.opts.Trust)
	if facts.Authenticity = authenticityOf(err); facts.Authenticity != Genuine {
		g.opts.Logger.Debug("refused", "read", f, "error", err)
		return Decide(facts)
	}
	g.opts.Clock.Evidence(code.Issuer(), code.IssuedAt())
	facts.Freshness = freshness(code, at, g.opts.Clock)

	wanted := facts
	wanted.Durable = true
	if Decide(wanted) != visit.Admitted {
		return Decide(facts)
	}
	facts.Seen, facts.Durable = g.record(ctx, journal, code, at)
	return Decide(facts)
}

func verify(text []byte, trust token.Keyring) (token.Code, error) {
	u, err := token.Parse(text)
	if err != nil {
		return token.Code{}, err
	}
	return u.Verify(trust)
}

// record journals the code's visit unless this gate already has. Two readers that see one code at once are told apart
// here: the second waits for what becomes of the first.
func (g *Gate) record(ctx context.Context, journal Journal, code token.Code, at clock.Reading) (seen, durable bool) {
	keep := token.Lifetime + 2*at.Skew
	if at.State == visit.ClockUntrusted {
		keep = untrustedKeep
	}
	for {
		now := time.Now()
		c, mine := g.replays.claim(code.CTI(), now, now.Add(keep))
		if !mine {
			<-c.settled
			if c.durable {
				return true, true
			}
			continue
		}
		durable := g.append(ctx, journal, code, at)
		g.replays.settle(c, durable)
		return false, durable
	}
}

func (g *Gate) append(ctx context.Context, journal Journal, code token.Code, at clock.Reading) bool {
	limited, cancel := context.WithTimeout(ctx, appendLimit)
	defer cancel()
	when := timeOf(code, at)
	_, err := journal.Append(limited, visit.Visit{
		At: when.UTC().Truncate(time.Millisecond), Issuer: code.Issuer(), CTI: visit.CTI(code.CTI()),
		Clock: at.State, Skew: at.Skew.Truncate(time.Millisecond), StaleTrust: g.opts.Trust.Stale(when),
	})
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			g.opts.Board.Set(health.JournalFailed, "", err.Error())
		}
		return false
	}
	g.opts.Board.Clear(health.JournalFailed, "")
	return true
}

// timeOf returns when the visit of a fresh code took place: now, or while the clock is not trusted, when the code was
// issued. Its issuer signed that, and it is seconds before the scan; what the clock says may be years off.
func timeOf(code token.Code, at clock.Reading) time.Time {
	if at.State == visit.ClockUntrusted {
		return code.IssuedAt()
	}
	return at.Now
}

// announce hands the outcome to everything that shows it; none of it can hold the gate up.
func (g *Gate) announce(o visit.Outcome, f drivers.Read) {
	cue := cueOf(o, f.Reader, f.At, g.opts.Languages)
	for _, d := range g.dispatchers {
		d.offer(cue)
	}
	if g.opts.Display != nil {
		g.opts.Display.Show(o, f.Reader, hold)
	}
	level := slog.LevelInfo
	if o == visit.NotACode { // a noisy line must not fill the log; the screen counts them
		level = slog.LevelDebug
	}
	g.opts.Logger.Log(context.Background(), level, "scan", "outcome", o.String(), "reader", f.Reader,
		"duration", time.Since(f.At).Round(10*time.Microsecond))
}
