package sim

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/kipass/kipass/configs"
	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/firmware"
	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/firmware/journal"
	"github.com/kipass/kipass/firmware/replay"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/station"
	"github.com/kipass/kipass/uplink"
)

// lookEvery is how often a gate's parts look after each other: seldom, for the sake of speed.
const lookEvery = time.Minute

// gateParty is one gate with its machine.
type gateParty struct {
	w       *world
	name    string
	config  configs.Gate
	clock   *wallClock
	weather weather
	disk    *gateDisk
	reader  *reader
	lamp    *lamp
	drawing sync.Mutex
	rng     *rand.Rand // of jitter; guarded by drawing

	board    *health.Board
	journal  *journal.Journal
	replays  *replay.Set
	memory   string // folder of what is remembered while the machine is on; empty: nothing is
	started  time.Time
	unsound  time.Time // when something was last wrong with it
	cutOff   time.Time // when something last kept it from its server
	cleared  time.Time // when it last had nothing left to deliver
	forgot   time.Time // when it last lost what it keeps of delivered visits
	current  time.Time // what was changed for it before then it has heard of
	changed  time.Time // when its disk or its identity last became another
	visited  time.Time // when it last admitted somebody
	revoked  bool
	of       *gateParty    // whose copy it is; nil: none
	owes     *serverBackup // that the server was restored from, and has not yet got back what it lost; nil: none
	heard    *timeline     // faults on the board
	troubles *timeline     // what is wrong with it
	refusals refusals
	leaf     *x509.Certificate // its certificate when it was last looked at

	cancel context.CancelFunc // nil while the gate is off
	ended  chan error
}

const gateConfig = `version = 1
[gate]
facility = %q
name = %q
state = %q
[server]
url = "https://%s"
enrolment_code = %q
[trust]
root = %q
[[reader]]
name = "front"
device = "/dev/null"
[speaker]
enabled = false
[journal]
free_floor = "1MiB"
`

func newGate(w *world, n int) (*gateParty, error) {
	g := &gateParty{
		w: w, name: fmt.Sprintf("gate-%d", n), clock: newWallClock(), disk: newGateDisk(), current: time.Now(),
		rng: rand.New(rand.NewPCG(w.opts.Seed, uint64(100+n))), heard: newTimeline(), troubles: newTimeline(),
	}
	if replay.Volatile(w.dir) == nil {
		g.memory = w.path(g.name + "-memory")
		if err := os.Mkdir(g.memory, 0o700); err != nil {
			return nil, err
		}
	}
	g.reader = newReader()
	g.lamp = &lamp{g: g, pulses: map[string]time.Time{}}
	if err := g.configure(""); err != nil {
		return nil, err
	}
	if err := g.enrolAgain(); err != nil {
		return nil, err
	}
	return g, g.start()
}

// start starts the gate's program.
func (g *gateParty) start() error {
	identity, err := uplink.OpenIdentity(filepath.Join(g.config.Place.State, "identity"))
	if err != nil {
		return err
	}
	g.disk.restore()
	g.journal, err = journal.Open(journal.Options{
		Dir: filepath.Join(g.config.Place.State, "journal"), Facility: g.config.Place.Facility, Gate: g.config.Place.Name,
		FreeFloor: uint64(g.config.Journal.FreeFloor.Bytes), Logger: g.w.log, System: g.disk.system(),
	})
	if err != nil {
		return fmt.Errorf("opening the journal: %w", err)
	}
	if g.replays, err = replay.Open(replay.Options{Dir: g.memory, Name: g.name, Uptime: g.clock.running}); err != nil {
		return errors.Join(err, g.journal.Close())
	}
	g.board = health.NewBoard(time.Now, slog.New(listener{g.w.log.Handler(), g}))
	network := uplink.Network{Dial: g.weather.dial(g.w.net), Draw: g.draw}
	if !g.w.opts.TLS {
		network.Transport = func(certificate func() *tls.Certificate) http.RoundTripper {
			return &link{weather: &g.weather, handler: &g.w.visits.handler, certificate: certificate, sabotage: g.w.opts.Sabotage}
		}
	}
	s, err := station.New(station.Options{
		Config: g.config, Version: "sim", Identity: identity, Journal: g.journal,
		Readers: []drivers.Reader{g.reader}, Indicators: []firmware.Lane{{Indicator: g.lamp}}, Replays: g.replays,
		Authorities: g.w.visits.roots, Board: g.board, Logger: g.w.log, Clock: g.clock.sources(), LookEvery: lookEvery, Network: network,
	})
	if err != nil {
		return errors.Join(err, g.journal.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel, g.ended = cancel, make(chan error, 1)
	g.started, g.refusals = time.Now(), refusals{}
	g.troubles.note(gateOn, true, g.started)
	g.troubles.moment(gateStarts, g.started)
	g.w.report.Starts++
	go func() { g.ended <- s.Run(ctx, func(string) {}) }()
	return nil
}

// stop ends the program as SIGTERM does, or clears away what the end of its machine has left of it.
func (g *gateParty) stop() {
	if g.cancel == nil {
		return
	}
	g.cancel()
	g.cancel = nil
	err := <-g.ended
	g.heard.end()
	g.troubles.note(allRefused, false, time.Now())
	g.troubles.note(gateOn, false, time.Now())
	if e := g.journal.Close(); err == nil && !g.disk.isDead() {
		err = e
	}
	_ = g.replays.Close()
	if err != nil && !g.disk.isDead() {
		g.w.trace("%s ended with %v", g.name, err)
	}
}

// off ends the gate's program, or its machine with it, for a while.
func (g *gateParty) off(d time.Duration, machine bool) {
	if err := g.restart(d, machine); err != nil {
		g.w.violated("%s does not start again: %v", g.name, err)
	}
}

// well tells whether nothing is wrong with the gate at this moment. A gate that has no network is well.
func (g *gateParty) well() bool {
	g.disk.mu.Lock()
	defer g.disk.mu.Unlock()
	d := g.disk
	return g.cancel != nil && !d.dead && d.slow == 0 && !d.full && d.broken == 0 && d.cutIn == 0 && g.clock.right()
}

// connected tells whether nothing stands between the gate and its server at this moment.
func (g *gateParty) connected() bool {
	g.weather.mu.Lock()
	defer g.weather.mu.Unlock()
	g.w.visits.mu.Lock()
	defer g.w.visits.mu.Unlock()
	return g.cancel != nil && g.weather.conditions == conditions{} && !g.w.visits.dead && g.w.visits.cancel != nil
}

// failedSince tells whether the gate was off, or was cut off its power, since a moment.
func (g *gateParty) failedSince(t time.Time) bool {
	return g.cancel == nil || g.disk.isDead() || !g.started.Before(t)
}

// kill ends the gate's program as SIGKILL does: nothing it holds reaches its disk any more.
func (g *gateParty) kill(off time.Duration) {
	g.disk.change(func(d *gateDisk) { d.dead = true })
	g.off(off, false)
}

// draw draws jitter, for any of the gate's goroutines.
func (g *gateParty) draw() float64 {
	g.drawing.Lock()
	defer g.drawing.Unlock()
	return g.rng.Float64()
}

// restart starts the gate again after a while. A power cut begins its machine's running time anew.
func (g *gateParty) restart(off time.Duration, machine bool) error {
	g.stop()
	time.Sleep(off)
	if machine {
		g.clock.boot()
	}
	if machine || g.w.opts.Sabotage == forgetfulGate {
		if g.memory != "" { // what lay in memory is gone
			if err := errors.Join(os.RemoveAll(g.memory), os.Mkdir(g.memory, 0o700)); err != nil {
				return err
			}
		}
	}
	return g.start()
}

// reader is a reader that delivers what the crowd shows.
type reader struct{ frames chan drivers.Read }

func newReader() *reader { return &reader{frames: make(chan drivers.Read)} }

// Run implements drivers.Reader.
func (r *reader) Run(ctx context.Context, emit func(drivers.Read)) error {
	for {
		select {
		case f := <-r.frames:
			emit(f)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Check implements drivers.Checker.
func (r *reader) Check() error   { return nil }
func (r *reader) String() string { return "crowd (front)" }

// show lets the reader deliver a text; false if the gate is off. It returns when its last byte arrived.
func (r *reader) show(text string) (at time.Time, ok bool) {
	at = time.Now()
	select {
	case r.frames <- drivers.Read{Data: []byte(text), At: at, Reader: "front"}:
		return at, true
	case <-time.After(time.Millisecond):
		return at, false
	}
}

// shown is what a gate showed for one presentation.
type shown struct {
	at, began time.Time
	light     drivers.Light
	pulse     bool
	clip      string
}

// lamp is the gate's lights, voice and relay in one.
type lamp struct {
	g     *gateParty
	mu    sync.Mutex
	count int
	// last is what was shown since the crowd last asked.
	last   []shown
	pulses map[string]time.Time // codes that opened the relay, see promises.go
}

// Show implements drivers.Indicator.
func (l *lamp) Show(_ context.Context, c drivers.Cue) error {
	l.g.w.sabotaged(slowLamp, func() { time.Sleep(lateAfter + time.Second) })
	s := shown{at: time.Now(), began: c.Began, light: c.Light, pulse: c.Relay}
	l.g.w.sabotaged(greenLamp, func() { s.light = drivers.Green })
	if len(c.Clips) > 0 {
		s.clip = c.Clips[len(c.Clips)-1]
	}
	if l.g.w.opts.Sabotage == toughGate && strings.HasSuffix(s.clip, "/"+visit.OutOfService.String()) {
		s.light = drivers.Green
	}
	l.g.w.sabotaged(redLamp, func() { s.light, s.clip = drivers.Red, "ko/"+visit.Expired.String() })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	if l.g.w.opts.Sabotage == deadLamp && l.count%5 == 0 {
		return nil
	}
	l.last = append(l.last, s)
	l.g.w.sabotaged(doubleLamp, func() { l.last = append(l.last, s) })
	return nil
}

// Halt implements drivers.Indicator.
func (l *lamp) Halt() error    { return nil }
func (l *lamp) String() string { return "lamp" }

// take returns what was shown since it was last asked.
func (l *lamp) take() []shown {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.last
	l.last = nil
	return s
}
