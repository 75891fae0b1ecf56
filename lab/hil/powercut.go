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
	cycleTime    = 60 * time.Second       // for which a machine may take to boot and open the journal
	longestWork  = 400 * time.Millisecond // of a machine before its power is cut
	longestStart = 600 * time.Millisecond // of one that is cut at its start
	writers      = 3
)

// powerCuts is a journal in machines whose power is cut at random moments.
type powerCuts struct {
	boot   Boot
	disk   func(cycle int) job.Disk
	cycles int
	seed   uint64
	step   func(done int) // told after each cycle; may be nil

	rng    *rand.Rand
	truth  *truth
	number uint64 // of the next visit
	early  int    // cuts before the journal was open
	boots  int
}

// run cuts the power as often as asked, then opens the journal a last time and looks at all of it. The error says what
// was lost, and in which cycle.
func (p *powerCuts) run(ctx context.Context) (map[string]float64, error) {
	var err error
	if p.truth, err = newTruth(); err != nil {
		return nil, err
	}
	p.rng = rand.New(rand.NewPCG(p.seed, 1))
	p.boot.Disk = filepath.Join(p.boot.Dir, "journal.ext4")
	if err := newDisk(ctx, p.boot.Disk, diskSize); err != nil {
		return nil, err
	}
	for n := range p.cycles {
		if err := p.cycle(ctx, p.disk(n), n == p.cycles-1); err != nil {
			return p.figures(), fmt.Errorf("cycle %d: %w", n+1, err)
		}
		if p.step != nil {
			p.step(n + 1)
		}
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
	m, err := Start(ctx, p.boot)
	if err != nil {
		return err
	}
	// One cut in ten falls into the start: while the file system recovers, or the journal opens.
	cut := time.NewTimer(cycleTime)
	if !last && p.rng.IntN(10) == 0 {
		cut.Reset(time.Duration(p.rng.Int64N(int64(longestStart))))
	}
	defer cut.Stop()
	opened, done := false, false
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
				opened = true
				failed = errors.Join(failed, p.truth.inspect(*f.Opened))
				if !last {
					cut.Reset(time.Duration(p.rng.Int64N(int64(longestWork))))
				}
			case f.Acked != nil:
				failed = errors.Join(failed, p.truth.ack(*f.Acked))
			case f.Done:
				done = true
			}
			if failed != nil {
				m.kill()
			}
		case <-cut.C:
			m.kill()
		}
	}
	<-m.ended
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case failed != nil:
		return failed
	case last && !done:
		return fmt.Errorf("the machine did not open the journal within %v", cycleTime)
	case !opened:
		p.early++
	}
	return nil
}
