package hil

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/kipass/kipass/lab/hil/job"
)

const (
	diskSize     = 192 << 20
	writers      = 3
	maxAcked     = 60                    // visits acknowledged before a cut
	maxPause     = 10 * time.Millisecond // between the last of them and the cut
	firstStart   = time.Second           // how long a start is taken to last before one was seen
	earlyCuts    = 10                    // one cut in so many falls into the start
	beyondTheEnd = 1.25                  // of a start: until when those cuts come
)

// powerCuts is a journal in machines whose power is cut at random moments.
type powerCuts struct {
	boot   Boot
	disk   func(cycle int) job.Disk
	cycles int
	seed   uint64
	step   *step

	rng    *rand.Rand
	truth  *truth
	number uint64        // of the next visit
	start  time.Duration // from power on until the journal is open, as it was seen last
	early  int           // cuts before the journal was open
	boots  int
}

// run cuts the power as often as asked, then opens the journal a last time and looks at all of it. The error says what
// was lost, and in which cycle.
func (p *powerCuts) run(ctx context.Context) (map[string]float64, error) {
	var err error
	if p.truth, err = newTruth(); err != nil {
		return nil, err
	}
	p.rng, p.start = rand.New(rand.NewPCG(p.seed, 1)), firstStart
	p.boot.Disk = filepath.Join(p.boot.Dir, "journal.ext4")
	if err := newDisk(ctx, p.boot.Disk, diskSize); err != nil {
		return nil, err
	}
	for n := range p.cycles {
		if err := p.cycle(ctx, p.disk(n), n == p.cycles-1); err != nil {
			return p.figures(), fmt.Errorf("cycle %d: %w", n+1, err)
		}
		p.step.at(n+1, p.cycles, "")
	}
	return p.figures(), nil
}

func (p *powerCuts) figures() map[string]float64 {
	return map[string]float64{
		"cuts": float64(p.boots - 1), "cuts_before_open": float64(p.early), "acknowledged": float64(p.truth.total),
		"opened_with_private_key": float64(p.truth.opened), "durable_but_not_acknowledged": float64(p.truth.extra),
	}
}

// cycle boots a machine, looks at the journal it finds, lets it work and cuts its power. The last one does not work.
func (p *powerCuts) cycle(ctx context.Context, disk job.Disk, last bool) error {
	p.boots++
	p.boot.Job = job.Job{Journal: &job.Journal{
		Disk: disk, SealKey: p.truth.key.Public().Bytes(), Known: p.truth.known, Writers: writers,
		First: p.number, Idle: last, Seed: p.rng.Uint64(),
	}}
	if p.rng.IntN(3) == 0 {
		p.truth.settled = p.truth.known
		p.boot.Job.Journal.Settle = p.truth.known
	}
	p.number += 1 << 20
	c := p.newCut(last)
	defer c.timer.Stop()
	m, err := Start(ctx, p.boot)
	if err != nil {
		return err
	}
	found, err := p.watch(m, c)
	if !found.opened && c.meant {
		p.early++
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	case !c.meant && !found.done:
		return fmt.Errorf("the machine stopped by itself, or hung for %v (journal opened: %v)", hungAfter, found.opened)
	default:
		return nil
	}
}

// cut is when a machine's power goes: in its start, or when so many visits have been acknowledged, and a pause after that.
// It depends on what the machine does, not on how fast it is.
type cut struct {
	timer *time.Timer // ends a machine that hangs, until the cut is meant
	meant bool
	acked int // visits that are still to be acknowledged first; less than 0 when they do not matter
	pause time.Duration
}

func (p *powerCuts) newCut(last bool) *cut {
	c := &cut{timer: time.NewTimer(hungAfter), acked: -1}
	switch {
	case last:
	case p.rng.IntN(earlyCuts) == 0:
		c.mean(time.Duration(p.rng.Float64() * beyondTheEnd * float64(p.start)))
	default:
		c.acked, c.pause = p.rng.IntN(maxAcked), time.Duration(p.rng.Int64N(int64(maxPause)))
	}
	return c
}

func (c *cut) mean(after time.Duration) {
	c.meant = true
	c.timer.Reset(after)
}

// progress notes that the journal was opened or a visit acknowledged.
func (c *cut) progress() {
	if c.acked == 0 {
		c.mean(c.pause)
	}
	c.acked--
}

// ending is how far a machine came.
type ending struct{ opened, done bool }

// watch follows a machine until it has ended, and holds what it tells to what is known.
func (p *powerCuts) watch(m *Machine, c *cut) (ending, error) {
	began := time.Now()
	var e ending
	var failed error
	for lines := m.Lines(); lines != nil; {
		select {
		case line, ok := <-lines:
			if !ok {
				lines = nil
				break
			}
			f, ok := job.ParseFact(line)
			switch {
			case !ok:
			case f.Failure != "":
				failed = errors.Join(failed, fmt.Errorf("the machine says: %s", f.Failure))
			case f.Opened != nil:
				e.opened, p.start = true, time.Since(began)
				failed = errors.Join(failed, p.truth.inspect(*f.Opened))
				c.progress()
			case f.Acked != nil:
				failed = errors.Join(failed, p.truth.ack(*f.Acked))
				c.progress()
			case f.Done:
				e.done = true
			}
			if failed != nil {
				m.kill()
			}
		case <-c.timer.C:
			m.kill()
		}
	}
	<-m.ended
	return e, failed
}
