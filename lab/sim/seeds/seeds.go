// Package seeds plays many seeds of the simulator, each in a process of its own: a process has one stream of randomness,
// and a run that hangs ends no other.
package seeds

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Options say which seeds are played.
type Options struct {
	Program  string // lab/sim, built as a test
	First    uint64 // from 1
	Count    int
	Parallel int
	Days     int       // 0: drawn by each seed
	Trace    bool      // tell what happens in each run; for one seed
	Log      io.Writer // what is going on, a line at a time
}

// Summary sums the runs up.
type Summary struct {
	Seeds     int            `json:"seeds"`
	Days      int            `json:"days"`
	Shown     int            `json:"shown"` // presentations to gates
	Green     int            `json:"green"`
	Pulses    int            `json:"pulses"`   // of relays
	Stored    int            `json:"stored"`   // visits
	Orders    int            `json:"orders"`   // inquiries of the health authority
	Complete  int            `json:"complete"` // lists that called themselves complete
	Contacts  int            `json:"contacts"`
	Destroyed int            `json:"destroyed"` // days
	Starts    int            `json:"starts"`    // of gates and visit servers
	Faults    map[string]int `json:"faults"`
	Alarms    map[string]int `json:"alarms"` // that gates showed, by fault
	Broken    map[string]int `json:"broken"` // promises, by seed, that did not hold
	Seconds   float64        `json:"seconds"`
}

// report is what one run says of itself on a line that begins with reportMark.
type report struct {
	Days, Shown, Green, Pulses, Stored, Orders, Complete, Contacts, Destroyed, Starts int

	Faults, Alarms map[string]int
	Broken         []string
}

const (
	reportMark = "REPORT "
	// hangs is how long a run may take on the busiest of machines.
	hangs = 20 * time.Minute
	// every so many seeds there is a line of progress.
	progress = 20
)

// ErrBroken says that a promise did not hold.
var ErrBroken = errors.New("a promise of the system did not hold")

// Play plays the seeds and sums them up. The error wraps ErrBroken where a promise did not hold.
func Play(ctx context.Context, opts Options) (Summary, error) {
	begun := time.Now()
	sum := Summary{Faults: map[string]int{}, Alarms: map[string]int{}, Broken: map[string]int{}}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(1, opts.Parallel))
	for n := range opts.Count {
		seed := opts.First + uint64(n)
		group.Go(func() error {
			r, err := one(ctx, opts, seed)
			if err != nil {
				return fmt.Errorf("seed %d: %w", seed, err)
			}
			mu.Lock()
			defer mu.Unlock()
			sum.add(seed, r, opts.Log)
			if sum.Seeds%progress == 0 && sum.Seeds < opts.Count {
				fmt.Fprintf(opts.Log, "%d/%d seeds, %d days, %d green, %d broken\n", sum.Seeds, opts.Count, sum.Days, sum.Green, len(sum.Broken))
			}
			return nil
		})
	}
	err := group.Wait()
	sum.Seconds = time.Since(begun).Round(100 * time.Millisecond).Seconds()
	if err == nil && len(sum.Broken) > 0 {
		err = fmt.Errorf("%d of %d seeds: %w", len(sum.Broken), sum.Seeds, ErrBroken)
	}
	return sum, err
}

func (s *Summary) add(seed uint64, r report, log io.Writer) {
	s.Seeds++
	s.Days += r.Days
	s.Shown += r.Shown
	s.Green += r.Green
	s.Pulses += r.Pulses
	s.Stored += r.Stored
	s.Orders += r.Orders
	s.Complete += r.Complete
	s.Contacts += r.Contacts
	s.Destroyed += r.Destroyed
	s.Starts += r.Starts
	for name, n := range r.Faults {
		s.Faults[name] += n
	}
	for code, n := range r.Alarms {
		s.Alarms[code] += n
	}
	for _, b := range r.Broken {
		fmt.Fprintf(log, "seed %d: %s\n", seed, b)
	}
	if len(r.Broken) > 0 {
		s.Broken[strconv.FormatUint(seed, 10)] = len(r.Broken)
		fmt.Fprintf(log, "다시 보기 / to see it again: make sim SEED=%d\n", seed)
	}
}

// one plays a seed.
func one(ctx context.Context, opts Options, seed uint64) (report, error) {
	ctx, cancel := context.WithTimeout(ctx, hangs)
	defer cancel()
	args := []string{
		"-test.run", "^TestSeed$", "-test.timeout", hangs.String(),
		"-seed", strconv.FormatUint(seed, 10), "-days", strconv.Itoa(opts.Days),
	}
	if opts.Trace {
		args = append(args, "-trace")
	}
	cmd := exec.CommandContext(ctx, opts.Program, args...)
	// One order of goroutines: the same seed is the same run. Memory is cheaper than collecting it.
	cmd.Env = append(cmd.Environ(), "GOMAXPROCS=1", "GOGC=400")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if opts.Trace {
		cmd.Stderr = opts.Log
	}
	failed := cmd.Run()
	for lines := bufio.NewScanner(&out); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), reportMark); ok {
			var r report
			return r, json.Unmarshal([]byte(text), &r)
		}
	}
	return report{}, fmt.Errorf("the run ended without a report: %v\n%s%s", failed, out.Bytes(), errs.Bytes())
}
