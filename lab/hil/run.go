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
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
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

// Run runs the scenarios, each in a virtual machine of its own, and writes a table to opts.Out. The error is not nil if one
// failed; the summary holds what is known then too.
func Run(ctx context.Context, opts Options) (Summary, error) {
	if opts.Cycles <= 0 {
		opts.Cycles = 200
	}
	if opts.Replugs <= 0 {
		opts.Replugs = 100
	}
	if opts.Seed == 0 {
		opts.Seed = uint64(time.Now().UnixNano())
	}
	chosen, err := choose(opts.Only)
	if err != nil {
		return Summary{}, err
	}
	dir, err := os.MkdirTemp("", "kipass-hil-")
	if err != nil {
		return Summary{}, err
	}
	defer os.RemoveAll(dir)
	if opts.Logs == "" {
		if opts.Logs, err = os.MkdirTemp("", "kipass-hil-logs-"); err != nil {
			return Summary{}, err
		}
		defer os.Remove(opts.Logs) // it stays if there is something in it
	}
	began := time.Now()
	var s Summary
	if s.Kernel, err = release(ctx, opts.Kernel); err != nil {
		return s, err
	}
	fmt.Fprintf(opts.Out, "게스트 빌드 중 / building the guest (kernel %s, seed %d)\n", s.Kernel, opts.Seed)
	guest, err := BuildGuest(ctx, opts.Folder, dir)
	if err != nil {
		return s, err
	}
	s.Scenarios = opts.runAll(ctx, chosen, Boot{Kernel: opts.Kernel, Guest: guest, Dir: dir})
	if ctx.Err() != nil {
		return s, ctx.Err()
	}
	s.Seconds = seconds(began)
	s.OK = !slices.ContainsFunc(s.Scenarios, func(r Result) bool { return !r.OK })
	if !s.OK {
		return s, errors.New("a scenario failed")
	}
	return s, nil
}

// choose returns the scenarios of these names, or all.
func choose(names []string) ([]scenario, error) {
	if len(names) == 0 {
		return scenarios, nil
	}
	for _, name := range names {
		if !slices.Contains(Scenarios(), name) {
			return nil, fmt.Errorf("unknown scenario %q: there are %s", name, strings.Join(Scenarios(), ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(scenarios), func(s scenario) bool { return !slices.Contains(names, s.name) }), nil
}

// runAll runs scenarios side by side, one a processor: a machine has one, and none is judged by how fast it is. b.Dir is
// the folder of all.
func (opts Options) runAll(ctx context.Context, chosen []scenario, b Boot) []Result {
	p := newProgress(opts.Out)
	telling, stop := context.WithCancel(ctx)
	told := make(chan struct{})
	go func() {
		defer close(told)
		p.run(telling)
	}()
	defer func() { stop(); <-told }()
	results := make([]Result, len(chosen))
	var lanes errgroup.Group
	lanes.SetLimit(runtime.NumCPU())
	for i, s := range chosen {
		lanes.Go(func() error {
			own := b
			own.Dir = filepath.Join(b.Dir, s.name)
			step := p.begin(s.name)
			results[i] = opts.try(ctx, s, own, step)
			step.end(results[i])
			return nil
		})
	}
	_ = lanes.Wait() // what failed is in the results
	return results
}

// try runs one scenario. What its machines said is kept if it failed.
func (opts Options) try(ctx context.Context, s scenario, b Boot, step *step) Result {
	began := time.Now()
	r := Result{Name: s.name}
	err := os.MkdirAll(b.Dir, 0o700)
	if err == nil {
		err = s.run(ctx, opts, b, step, &r)
	}
	r.OK, r.Seconds = err == nil, seconds(began)
	if err == nil || ctx.Err() != nil {
		_ = os.RemoveAll(b.Dir)
		return r
	}
	r.Failure, r.Logs = err.Error(), filepath.Join(opts.Logs, s.name)
	if err := keep(r.Logs, b.Dir); err != nil {
		r.Failure += "\nkeeping the logs: " + err.Error()
	}
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
