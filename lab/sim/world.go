package sim

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit/memnet"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

// Options of a run.
type Options struct {
	Seed     uint64
	Days     int           // of the run; 0: drawn, 3 to 60
	Gates    int           // of one facility; 0: one
	TLS      bool          // gates reach the server over mutual TLS on a network in memory, not directly
	Calm     bool          // nothing goes wrong
	KeyAge   time.Duration // of the issuers' signing keys at the beginning; drawn where issuers have troubles
	Sabotage Sabotage      // something is broken on purpose, for trying whether it is seen
	Trace    io.Writer     // what happens, a line an event; nil: nowhere
	Log      io.Writer     // what the programs log; nil: nowhere
}

// Report counts what a run was made of.
type Report struct {
	Days                 int
	Shown, Green, Pulses int // presentations of anything, green lights, pulses of the relay
	Stored               uint64
	Orders, Contacts     int            // inquiries, and contacts they gave
	Complete             int            // inquiries whose list called itself complete
	Faults, Alarms       map[string]int // what went wrong, and what gates told of it
	Destroyed            int            // days destroyed at the visit server
	Certificates         int            // that gates have had
	Starts               int            // of gates and visit server
	Broken               []string       // promises, in words
}

// world is everything in a run.
type world struct {
	opts   Options
	rng    *rand.Rand // of the world's own course; only the goroutine of run draws from it
	dir    string
	begun  time.Time
	report Report
	log    *slog.Logger
	net    *memnet.Network

	scheme    *scheme
	issuers   []*issuerParty
	visits    *visitParty
	authority *authorityParty
	gates     []*gateParty
	crowd     *crowd
	thief     thief
	backup    *serverBackup    // of the visit server, to be restored; nil: none
	lost      []span           // times of which not everybody can be named any more
	copies    int              // of gates, ever
	damaged   map[day.Day]bool // days of which something was damaged
	troubles  *timeline
	unsound   time.Time // when something all gates depend on was last wrong
	agenda    agenda
	life      time.Duration // of gates' certificates; 0: longer than any run
}

// facility is the one place of the world.
const facility = "arena"

// Run plays one seed. It must be called in a bubble of testing/synctest.
func Run(t *testing.T, opts Options) Report {
	w, clean := newWorld(t, opts)
	defer clean()
	if err := w.play(); err != nil {
		w.violated("the run itself: %v", err)
	}
	return w.report
}

// newWorld returns a world without parties; clean removes its folder.
func newWorld(t *testing.T, opts Options) (w *world, clean func()) {
	w = &world{
		opts: opts, rng: rand.New(rand.NewPCG(opts.Seed, 1)), begun: time.Now(), net: memnet.New(), troubles: newTimeline(),
		log: slog.New(slog.DiscardHandler), thief: thief{map[stolen]*visit.Opener{}},
	}
	if opts.Log != nil {
		w.log = slog.New(slog.NewTextHandler(opts.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	w.report.Faults, w.report.Alarms, w.damaged = map[string]int{}, map[string]int{}, map[day.Day]bool{}
	if w.opts.Days == 0 {
		w.opts.Days = 3 + w.rng.IntN(58)
	}
	if opts.Seed%20 == 0 { // some go the whole way
		w.opts.TLS, w.opts.Gates, w.opts.Days = true, 3, min(w.opts.Days, 10)
	}
	w.opts.Gates = max(1, w.opts.Gates)
	w.life = certificateLife(w.opts)
	w.sabotaged(mutedEnd, func() { w.opts.KeyAge = keyLife - keyWarning/2 })
	if w.issuersInTrouble() && w.opts.KeyAge == 0 {
		w.opts.KeyAge = keyLife - between(w.issuing(0), time.Hour, time.Duration(w.opts.Days)*24*time.Hour)
	}
	w.report.Days = w.opts.Days
	w.dir, clean = folder(t)
	return w, clean
}

func (w *world) play() error {
	defer w.close()
	for _, step := range []func() error{w.found, w.live, w.settle, w.recovered, w.takeStock} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// found sets every party up, in the order in which an operator would.
func (w *world) found() (err error) {
	w.scheme = newScheme()
	if w.authority, err = newAuthority(w); err != nil {
		return fmt.Errorf("authority: %w", err)
	}
	for _, name := range []string{"naver", "pass"} {
		i, err := newIssuer(w, name)
		if err != nil {
			return fmt.Errorf("issuer %s: %w", name, err)
		}
		w.issuers = append(w.issuers, i)
	}
	if w.visits, err = newVisits(w); err != nil {
		return fmt.Errorf("visit server: %w", err)
	}
	for n := range w.opts.Gates {
		g, err := newGate(w, n)
		if err != nil {
			return fmt.Errorf("gate %d: %w", n, err)
		}
		w.gates = append(w.gates, g)
	}
	w.crowd = newCrowd(w)
	return nil
}

// close ends every party, so that the bubble can end.
func (w *world) close() {
	for _, g := range w.gates {
		g.stop()
	}
	if w.visits != nil {
		w.visits.stop()
	}
	for _, i := range w.issuers {
		i.close()
	}
	if w.authority != nil {
		w.authority.close()
	}
}

func (w *world) path(parts ...string) string {
	return filepath.Join(append([]string{w.dir}, parts...)...)
}

// trace tells what happens.
func (w *world) trace(format string, args ...any) {
	if w.opts.Trace != nil {
		fmt.Fprintf(w.opts.Trace, "%s %s\n", time.Now().UTC().Format("01-02 15:04:05.000"), fmt.Sprintf(format, args...))
	}
}

// violated notes that a promise does not hold.
func (w *world) violated(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.trace("BROKEN %s", text)
	w.report.Broken = append(w.report.Broken, fmt.Sprintf("day %d: %s", int(time.Since(w.begun)/(24*time.Hour)), text))
}
