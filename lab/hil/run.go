package hil

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kipass/kipass/lab/hil/job"
)

// Options of a run.
type Options struct {
	Folder  string   // the tree's lab/hil, where the guest is built from
	Kernel  string   // path of the kernel
	Only    []string // names of scenarios; none means all
	Cycles  int      // power cuts; 0 is 200
	Replugs int      // of each reader while scanning; 0 is 100
	Short   bool     // leave out what takes longest
	Seed    uint64   // of the power cuts; 0 takes another each time
	Logs    string   // folder for logs of scenarios that failed; empty is a new temporary one
	Out     io.Writer
}

// scenario is one thing that is tried.
type scenario struct {
	name string
	run  func(ctx context.Context, o Options, b Boot, r *Result) error
}

// scenarios in the order they are run.
var scenarios = []scenario{
	{"serial", drivers("^TestSerial", 10*time.Minute)},
	{"keyboard", drivers("^TestKeyboard", 20*time.Minute)},
	{"gpio", drivers("^TestGPIO", 5*time.Minute)},
	{"sound", drivers("^TestSpeaker", 5*time.Minute)},
	{"journal", cuts(job.Volatile, 1)},
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

// Run runs the scenarios, each in a virtual machine of its own, and writes a table to o.Out. The error is not nil if one
// failed; the summary holds what is known then too.
func Run(ctx context.Context, o Options) (Summary, error) {
	if o.Cycles <= 0 {
		o.Cycles = 200
	}
	if o.Replugs <= 0 {
		o.Replugs = 100
	}
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano())
	}
	for _, name := range o.Only {
		if !slices.Contains(Scenarios(), name) {
			return Summary{}, fmt.Errorf("unknown scenario %q: there are %s", name, strings.Join(Scenarios(), ", "))
		}
	}
	dir, err := os.MkdirTemp("", "kipass-hil-")
	if err != nil {
		return Summary{}, err
	}
	defer os.RemoveAll(dir)
	began := time.Now()
	s := Summary{OK: true}
	if s.Kernel, err = release(ctx, o.Kernel); err != nil {
		return s, err
	}
	fmt.Fprintf(o.Out, "게스트 빌드 중 / building the guest (kernel %s, seed %d)\n", s.Kernel, o.Seed)
	guest, err := BuildGuest(ctx, o.Folder, dir)
	if err != nil {
		return s, err
	}
	for _, sc := range scenarios {
		if len(o.Only) > 0 && !slices.Contains(o.Only, sc.name) {
			continue
		}
		b := Boot{Kernel: o.Kernel, Guest: guest, Dir: filepath.Join(dir, sc.name)}
		r := o.try(ctx, sc, b)
		if ctx.Err() != nil {
			return s, ctx.Err()
		}
		s.OK = s.OK && r.OK
		s.Scenarios = append(s.Scenarios, r)
		r.row(o.Out)
	}
	s.Seconds = seconds(began)
	if !s.OK {
		return s, errors.New("a scenario failed")
	}
	return s, nil
}

// try runs one scenario. What its machines said is kept if it failed.
func (o Options) try(ctx context.Context, sc scenario, b Boot) Result {
	began := time.Now()
	r := Result{Name: sc.name}
	err := os.MkdirAll(b.Dir, 0o700)
	if err == nil {
		err = sc.run(ctx, o, b, &r)
	}
	r.OK, r.Seconds = err == nil, seconds(began)
	if err == nil || ctx.Err() != nil {
		_ = os.RemoveAll(b.Dir)
		return r
	}
	r.Failure = err.Error()
	if o.Logs == "" {
		if o.Logs, err = os.MkdirTemp("", "kipass-hil-logs-"); err != nil {
			r.Failure += "\n" + err.Error()
			return r
		}
	}
	kept := filepath.Join(o.Logs, sc.name)
	if err := keep(kept, b.Dir); err != nil {
		r.Failure += "\nkeeping the logs: " + err.Error()
	}
	r.Logs = kept
	return r
}

// keep copies a machine's files, but not its disk.
func keep(to, from string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	for _, name := range []string{"job.json", "kernel.log", "tests.log"} {
		b, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), b, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func release(ctx context.Context, kernel string) (string, error) {
	out, err := exec.CommandContext(ctx, kernel, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("asking %s for its version: %w", kernel, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// long matches the parts of the readers' contract that take longest.
const long = "/^(unplugging_is_survived_at_every_byte|the_longest_frame|frames_may_come_glued)"

func drivers(tests string, limit time.Duration) func(context.Context, Options, Boot, *Result) error {
	return func(ctx context.Context, o Options, b Boot, r *Result) error {
		env := []string{fmt.Sprintf("HIL_REPLUGS=%d", o.Replugs)}
		d := driverTests{boot: b, tests: tests, env: env, limit: limit}
		if o.Short {
			d.without = long
		}
		return d.run(ctx, r)
	}
}

// cuts cuts the power one in share times of Options.Cycles.
func cuts(disk job.Disk, share int) func(context.Context, Options, Boot, *Result) error {
	return func(ctx context.Context, o Options, b Boot, r *Result) error {
		p := &powerCuts{boot: b, disk: always(disk), cycles: max(o.Cycles/share, 2) + 1, seed: o.Seed, step: o.steps()}
		var err error
		if r.Figures, err = p.run(ctx); err != nil {
			return fmt.Errorf("seed %d: %w", o.Seed, err)
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
func lying(ctx context.Context, o Options, b Boot, r *Result) error {
	const honest, attempts = 2, 5
	disk := func(cycle int) job.Disk {
		if cycle == honest {
			return job.Lying
		}
		return job.Volatile
	}
	for n := range uint64(attempts) {
		p := &powerCuts{boot: b, disk: disk, cycles: honest + 2, seed: o.Seed + n}
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
	return fmt.Errorf("seed %d: a disk that ignores flushes lost nothing in %d power cuts: the check of the journal sees no loss", o.Seed, attempts)
}

// steps returns what shows the progress of power cuts: a line every 50th.
func (o Options) steps() func(int) {
	return func(done int) {
		if done%50 == 0 {
			fmt.Fprintf(o.Out, "%14s %d / %d 전원 차단 / power cuts\n", "", done, o.Cycles)
		}
	}
}
