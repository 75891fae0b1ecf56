// Package firmware is the gate: what a reader delivers is verified, decided, journalled and only then shown.
//
//	Read → presentation → Parse → Verify → Decide → journal (fsync) → Decide → Cue → lights, voice, relay, screen
//
// Nothing on this way waits for the network, and nothing green comes before the journal has said that the visit is on
// the disk. Every presentation has exactly one outcome, two seconds after its last byte at the latest, whatever the
// disk does; and what was read longer ago than three seconds is never shown green.
package firmware

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/firmware/clock"
	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/firmware/replay"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/sounds"
)

// Journal makes a visit durable. Append returns once it is on the disk, or with an error: then it may be there or not. It
// may return long after ctx has ended, because a flush of the disk cannot be called off.
type Journal interface {
	Append(ctx context.Context, v visit.Visit) (seq uint64, err error)
}

// Trust is the trust list in force.
type Trust interface {
	token.Keyring
	Stale(now time.Time) bool
}

// Clock tells the time and how well it is known, and learns about it from genuine codes: ago is how long ago one was read.
// MayBeFresh is all it can say of a code while it is untrusted.
type Clock interface {
	Read() clock.Reading
	Evidence(issuer string, iat time.Time, ago time.Duration)
	MayBeFresh(issuer string, iat time.Time) bool
}

// Display is the visitor's screen. Show never blocks. An outcome is begun to be shown before the moment by or never; zero
// sets no limit.
type Display interface {
	Show(o visit.Outcome, lane string, hold time.Duration, by time.Time)
}

// Lane joins an indicator to the reader it serves.
type Lane struct {
	Indicator drivers.Indicator
	Reader    string // name of the reader; empty for all
}

// Options are what a gate is made of. All are required but Indicators, Display and Replays, and where a default is
// told.
type Options struct {
	Readers         []drivers.Reader
	Indicators      []Lane
	Display         Display
	Trust           Trust
	Clock           Clock
	Replays         *replay.Set                     // the codes admitted lately; nil: a set that forgets them when the program ends
	RefuseUntrusted bool                            // whether the gate is out of service while its clock is untrusted
	Languages       []string                        // of the voice, one or two, in order
	ClipLength      func(clip string) time.Duration // how long each clip lasts; nil: as those shipped do
	Board           *health.Board
	CheckEvery      time.Duration // how often devices are asked whether they would work, default 500 ms
	Logger          *slog.Logger
}

// Gate is one gate with its readers and indicators.
type Gate struct {
	opts        Options
	dispatchers []*dispatcher
	replays     *replay.Set
	refusals    refusals
	claimed     chan struct{}  // receives when there are codes that will be to forget
	appends     sync.WaitGroup // those under way in the journal, and the scans that wait for them

	mu      sync.Mutex
	journal Journal // nil until the gate is enrolled
	revoked bool
	stalled map[*replay.Claim]bool // those whose append has not returned in time: the disk does not answer
}

const (
	checkEvery = 500 * time.Millisecond
	// answerLimit is how long after its last byte a presentation has its outcome. A slower disk is a broken one to the
	// visitor who waits.
	answerLimit = 2 * time.Second
	// greenLimit is how long after its last byte a frame may still be shown green and open the gate: later somebody else
	// may stand there.
	greenLimit = 3 * time.Second
	// maxWaiting is how many presentations of one reader may wait for their outcomes; those beyond are out of service at
	// once. A reader at full pace delivers half as many within answerLimit.
	maxWaiting = 256
	// untrustedKeep is how long a code is remembered while the clock cannot tell when it expires.
	untrustedKeep = time.Hour
	sweepEvery    = 15 * time.Second // how often codes past their time are forgotten
)

// New returns a gate that is out of service until [Gate.Use] gives it a journal.
func New(opts Options) *Gate {
	if opts.CheckEvery == 0 {
		opts.CheckEvery = checkEvery
	}
	if opts.ClipLength == nil {
		opts.ClipLength = sounds.Length
	}
	g := &Gate{
		opts: opts, replays: opts.Replays, claimed: make(chan struct{}, 1), stalled: map[*replay.Claim]bool{},
	}
	if g.replays == nil {
		g.replays = replay.New()
	}
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
	if g.revoked || len(g.stalled) > 0 || at.State == visit.ClockUntrusted && g.opts.RefuseUntrusted {
		return nil
	}
	return g.journal
}

// Run serves all readers until ctx ends, then halts the indicators. Run returns only when every goroutine has ended,
// but for one left in a driver that hangs; an append that a stalled disk does not let go is waited for.
func (g *Gate) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, d := range g.dispatchers {
		group.Go(func() error { d.run(ctx); return nil })
	}
	for _, r := range g.opts.Readers {
		w := newWay(g)
		group.Go(func() error { supervise(ctx, r, w.enter, g.opts.Board); return nil })
		group.Go(func() error { watchReader(ctx, r, g.InService, g.opts.Board, g.opts.CheckEvery); return nil })
		group.Go(func() error { w.evaluate(ctx); return nil })
		group.Go(func() error { w.announce(ctx); return nil })
	}
	group.Go(func() error { g.sweep(ctx); return nil })
	err := group.Wait()
	g.appends.Wait()
	return err
}

// sweep forgets codes past their time until ctx ends. While there is none to forget it sleeps.
func (g *Gate) sweep(ctx context.Context) {
	for {
		for !g.replays.Empty() {
			select {
			case <-time.After(sweepEvery):
				g.remembered(g.replays.Sweep())
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-g.claimed:
		case <-ctx.Done():
			return
		}
	}
}

// remembered notes whether the codes admitted would be known after a restart.
func (g *Gate) remembered(err error) {
	if err != nil {
		g.opts.Board.Set(health.ReplaysForgotten, "", err.Error())
	} else {
		g.opts.Board.Clear(health.ReplaysForgotten, "")
	}
}
