package hil

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/kipass/kipass/lab/hil/job"
)

// scenario is one thing that is tried. run fills in the result's figures and what passed.
type scenario struct {
	name string
	run  func(ctx context.Context, opts Options, b Boot, step *step, r *Result) error
}

// scenarios in the order in which they are begun: those that take longest first.
var scenarios = []scenario{
	{"journal", cuts(job.Volatile, 1)},
	{"keyboard", drivers("^TestKeyboard")},
	{"serial", drivers("^TestSerial")},
	{"sound", drivers("^TestSpeaker")},
	{"gpio", drivers("^TestGPIO")},
	{"disk", disk},
	{"journal-plain", cuts(job.Plain, 5)},
	{"journal-lying", lying},
}

// Scenarios returns the names that Options.Only may hold.
func Scenarios() []string {
	var names []string
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

// long matches the parts of the readers' contract that take longest.
const long = "/^(unplugging_is_survived_at_every_byte|the_longest_frame|frames_may_come_glued)"

// drivers runs tests of drivers on simulated devices. Their machine has a clock of its own, by which alone they judge.
func drivers(tests string) func(context.Context, Options, Boot, *step, *Result) error {
	return func(ctx context.Context, opts Options, b Boot, step *step, r *Result) error {
		b.Virtual = true
		g := guestTests{boot: b, tests: tests, env: []string{fmt.Sprintf("HIL_REPLUGS=%d", opts.Replugs)}, progress: step.at}
		if opts.Short {
			g.without = long
		}
		return g.run(ctx, r)
	}
}

// disk starts the disk of the journal's machines as often as their power is cut, in one machine.
func disk(ctx context.Context, opts Options, b Boot, step *step, r *Result) error {
	b.Disk = filepath.Join(b.Dir, "disk.ext4")
	if err := newDisk(ctx, b.Disk, diskSize); err != nil {
		return err
	}
	g := guestTests{boot: b, tests: "^TestDisk", env: []string{fmt.Sprintf("HIL_STARTS=%d", opts.Cycles)}}
	g.progress = func(_, _ int, _ string) { step.at(r.Passed, opts.Cycles, "") }
	return g.run(ctx, r)
}

// cuts cuts the power one in share times of Options.Cycles.
func cuts(disk job.Disk, share int) func(context.Context, Options, Boot, *step, *Result) error {
	return func(ctx context.Context, opts Options, b Boot, step *step, r *Result) error {
		p := &powerCuts{boot: b, disk: always(disk), cycles: max(opts.Cycles/share, 2) + 1, seed: opts.Seed, step: step}
		var err error
		if r.Figures, err = p.run(ctx); err != nil {
			return fmt.Errorf("seed %d: %w", opts.Seed, err)
		}
		r.Passed = p.cycles
		if p.truth.total == 0 {
			return errors.New("no visit was acknowledged in any cycle")
		}
		return nil
	}
}

func always(disk job.Disk) func(int) job.Disk { return func(int) job.Disk { return disk } }

// lying is the check of the check: when one machine's disk takes a flush for done that it has not begun, the visits that
// were acknowledged meanwhile are lost, and that must be seen.
func lying(ctx context.Context, opts Options, b Boot, step *step, r *Result) error {
	const honest, attempts = 2, 5
	disk := func(cycle int) job.Disk {
		if cycle == honest {
			return job.Lying
		}
		return job.Volatile
	}
	for n := range uint64(attempts) {
		p := &powerCuts{boot: b, disk: disk, cycles: honest + 2, seed: opts.Seed + n, step: step}
		figures, err := p.run(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errLost) && p.boots == honest+2:
			figures["lost"] = float64(p.truth.lost)
			r.Figures, r.Passed = figures, 1
			return nil
		case err != nil && p.boots < honest+2:
			return fmt.Errorf("seed %d: before the disk lied: %w", p.seed, err)
		}
		// The file system may not have survived, or nothing was acknowledged before the cut.
	}
	return fmt.Errorf("seed %d: a disk that ignores flushes lost nothing in %d power cuts: the check of the journal sees no loss", opts.Seed, attempts)
}
