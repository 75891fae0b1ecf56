package chain

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kipass/kipass/protocol/visit"
)

// minScans is how many scans there must be for something to go wrong before, in and after the middle.
const minScans = 3

// play lets visitors act until the scans are done or ctx ends, while the network fails and the gate is killed.
func (s *stage) play(ctx context.Context, opts Options, truth *truth, table *table) error {
	_, strange, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	d := &door{
		line: s.line, viewer: newViewer(s.screen, s.begunGates), truth: truth, issuers: s.issuers, strange: strange,
		rng: rand.New(rand.NewPCG(opts.Seed, 1)), generation: s.generation, steady: s.steady, knowsTime: s.knowsTime,
		remembers: s.runtime != "", frail: opts.Kill > 0 || opts.Disk == "readonly", habit: habits[opts.Reader],
		troubled: &s.troubled, clock: s.clock, delays: &delays{},
	}
	playing, stop := context.WithCancel(ctx)
	defer stop()
	group, playing := errgroup.WithContext(playing)
	group.Go(func() error { d.viewer.run(playing); return nil })
	group.Go(func() error { table.run(playing, truth); return nil })
	group.Go(func() error { d.delays.run(playing); return nil })
	group.Go(func() error {
		defer stop()
		err := s.scan(playing, d, opts, table, &mischief{group: group})
		if ctx.Err() != nil { // the user has seen enough
			return nil
		}
		return err
	})
	err = group.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// mischief is all that goes wrong beside the scans.
type mischief struct {
	group   *errgroup.Group
	pending sync.WaitGroup
}

// begin lets something go wrong, which says when it has happened and may go on.
func (m *mischief) begin(do func(happened func()) error) {
	m.pending.Add(1)
	happened := sync.OnceFunc(m.pending.Done)
	m.group.Go(func() error {
		defer happened()
		return do(happened)
	})
}

func (s *stage) scan(ctx context.Context, d *door, opts Options, table *table, m *mischief) error {
	if _, err := d.attend(ctx); err != nil {
		return err
	}
	if err := s.inService(ctx); err != nil {
		return err
	}
	if s.clock.Party != "" {
		m.begin(func(stepped func()) error { return s.stepClock(ctx, s.clock, stepped, table) })
	}
	if opts.Kill > 0 {
		m.begin(func(killed func()) error { return s.killEvery(ctx, opts.Kill, killed, table) })
	}
	acts := plan(max(opts.Scans, 1000), opts.Seed)
	for i := 0; opts.Scans == 0 || i < opts.Scans; i++ {
		if opts.Outage > 0 && i == max(1, opts.Scans/4) {
			m.begin(func(func()) error { return s.cut(ctx, opts, table) })
		}
		if opts.Disk != "" && i == max(1, opts.Scans/3) {
			broken := make(chan struct{})
			m.begin(func(func()) error { return s.breakDisk(ctx, opts.Disk, sync.OnceFunc(func() { close(broken) }), table) })
			select {
			case <-broken:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := d.enter(ctx, actEntry); err != nil { // somebody at least meets it
				return err
			}
		}
		if i > 0 && i == opts.Scans*2/3 { // whatever the pace, the rest is for a gate to which all has happened
			m.pending.Wait()
		}
		act := func() error { return d.perform(ctx, acts[i%len(acts)]) }
		if opts.Listen {
			act = func() error { return s.listen(ctx, d, acts[i%len(acts)]) }
		}
		if err := act(); err != nil {
			return err
		}
		select {
		case <-time.After(opts.Pace):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if opts.breaks() && s.clock.Source != "kernel" {
		return d.serveAgain(ctx)
	}
	return nil
}

// listen does one act and lets the voice say all that it has to say about green.
func (s *stage) listen(ctx context.Context, d *door, a act) error {
	from, before := s.voice.card.Len(), d.truth.counts()
	if err := d.perform(ctx, a); err != nil {
		return err
	}
	after := d.truth.counts()
	more := func(o visit.Outcome) bool { return after[o.String()] > before[o.String()] }
	if more(visit.Admitted) {
		return s.voice.await(ctx, from, wordsOfGreen, 60)
	}
	if more(visit.AdmittedAgain) {
		return s.voice.await(ctx, from, toneOfGreen, 0.1)
	}
	return nil
}

// serveAgain lets visitors in until one is shown green: whatever has gone wrong, a gate serves again.
func (d *door) serveAgain(ctx context.Context) error {
	before := d.truth.greens()
	for began := time.Now(); time.Since(began) < patience; {
		if err := d.enter(ctx, actEntry); err != nil {
			return err
		}
		if d.truth.greens() > before {
			return nil
		}
	}
	return fmt.Errorf("nobody was shown green for %v after all had happened", patience)
}

// cut takes the network away: first nothing answers, then connections are refused. A gate that is killed now and then
// is so first of all, and begins without a network to tell it the time.
func (s *stage) cut(ctx context.Context, opts Options, table *table) error {
	defer table.outage(false)
	table.outage(true)
	var err error
	for i, phase := range []func(){s.network.silence, s.network.refuse} {
		phase()
		if i == 0 && opts.Kill > 0 {
			err = s.restartGate(context.WithoutCancel(ctx))
		}
		pass(ctx, opts.Outage/2)
	}
	return errors.Join(err, s.network.restore(context.WithoutCancel(ctx)))
}

// killEvery kills the gate this often, and says when it has for the first time.
func (s *stage) killEvery(ctx context.Context, every time.Duration, killed func(), table *table) error {
	for {
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return nil
		}
		if err := s.restartGate(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		killed()
		table.restarted(s.generation() - 1)
	}
}
