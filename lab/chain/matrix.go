package chain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// MatrixOptions of a matrix. The zero value of each is its default.
type MatrixOptions struct {
	Bin      string        // folder of the programs, built for the lab; default: the folder this program lies in
	Dir      string        // where runs that fail keep their data; default: a temporary folder, removed after a good matrix
	Scans    int           // of each run; default 14
	Parallel int           // runs at a time; default 4: they mostly wait
	Limit    time.Duration // no run begins later than this; default 15 min
	Seed     uint64        // default from the clock
}

// The levels of each kind of trouble; the first is none.
var (
	matrixClocks = []string{
		"", "gate+9h", "gate-9h", "gate+40s", "gate+10m@3s", "gate-40s@3s", "gate+9h/battery",
		"visits+40s@3s", "visits-10m@3s",
	}
	matrixDisks   = append([]string{""}, DiskFaults...)
	matrixWeather = []struct {
		name         string
		kill, outage time.Duration
	}{
		{"calm", 0, 0}, {"killed", 4 * time.Second, 0}, {"cut off", 0, 5 * time.Second},
		{"killed and cut off", 4 * time.Second, 5 * time.Second},
	}
)

// combination is one run of a matrix, by the index of each level: clock, disk, reader, weather.
type combination [4]int

func levels() combination {
	return combination{len(matrixClocks), len(matrixDisks), len(ReaderHabits), len(matrixWeather)}
}

// combinations are such that every two levels of two kinds of trouble meet in at least one of them.
func combinations() []combination {
	of := levels()
	type pair struct{ kind, level, other, with int }
	missing := map[pair]bool{}
	pairsOf := func(c combination) (all []pair) {
		for k := range c {
			for o := k + 1; o < len(c); o++ {
				all = append(all, pair{k, c[k], o, c[o]})
			}
		}
		return all
	}
	each := func(f func(combination)) {
		for i := range of[0] * of[1] * of[2] * of[3] {
			f(combination{i / (of[1] * of[2] * of[3]), i / (of[2] * of[3]) % of[1], i / of[3] % of[2], i % of[3]})
		}
	}
	each(func(c combination) {
		for _, p := range pairsOf(c) {
			missing[p] = true
		}
	})
	var chosen []combination
	for len(missing) > 0 {
		var best combination
		most := 0
		each(func(c combination) {
			n := 0
			for _, p := range pairsOf(c) {
				if missing[p] {
					n++
				}
			}
			if n > most {
				best, most = c, n
			}
		})
		for _, p := range pairsOf(best) {
			delete(missing, p)
		}
		chosen = append(chosen, best)
	}
	return chosen
}

// options returns how a combination is run.
func (c combination) options() Options {
	w := matrixWeather[c[3]]
	return Options{
		Clock: matrixClocks[c[0]], Disk: matrixDisks[c[1]], Reader: ReaderHabits[c[2]], Kill: w.kill, Outage: w.outage,
		Sound: "none",
	}
}

// String names a combination as the flags of a run do.
func (c combination) String() string {
	o := c.options()
	var parts []string
	for _, p := range [][2]string{{"--clock", o.Clock}, {"--disk", o.Disk}, {"--reader", o.Reader}} {
		if p[1] != "" {
			parts = append(parts, p[0]+" "+p[1])
		}
	}
	for _, p := range []struct {
		flag string
		d    time.Duration
	}{{"--kill", o.Kill}, {"--outage", o.Outage}} {
		if p.d > 0 {
			parts = append(parts, p.flag+" "+p.d.String())
		}
	}
	return strings.Join(parts, " ")
}

// MatrixSummary is the result of a matrix. Failed and Undone must be 0.
type MatrixSummary struct {
	Combinations int    `json:"combinations"`
	Done         int    `json:"done"`
	Failed       int    `json:"failed"`
	Undone       int    `json:"undone"` // not begun within the limit
	Scans        int    `json:"scans"`
	Green        int    `json:"green"`
	Stored       uint64 `json:"stored"`
	Lost         int    `json:"lost"`
	Duplicated   int    `json:"duplicated"`
	FalseGreen   int    `json:"false_green"`
	LateGreen    int    `json:"late_green"`
	Opened       int    `json:"opened"`
	Truth        int    `json:"truth"`
	Seconds      int    `json:"seconds"`
	Seed         uint64 `json:"seed"`
}

// add counts one run.
func (m *MatrixSummary) add(s Summary, err error) {
	m.Done++
	m.Scans, m.Green, m.Stored = m.Scans+s.Scans, m.Green+s.Green, m.Stored+s.Stored
	m.Lost, m.Duplicated = m.Lost+s.Lost, m.Duplicated+s.Duplicated
	m.FalseGreen, m.LateGreen = m.FalseGreen+s.FalseGreen, m.LateGreen+s.LateGreen
	m.Opened, m.Truth = m.Opened+s.Opened, m.Truth+s.Truth
	if err != nil {
		m.Failed++
	}
}

// Err tells what is wrong with the result, nil if nothing is.
func (m MatrixSummary) Err() error {
	switch {
	case m.Failed+m.Undone > 0:
		return fmt.Errorf("of %d combinations %d failed and %d were not begun in time", m.Combinations, m.Failed, m.Undone)
	case m.Opened != m.Truth || m.Lost+m.Duplicated+m.FalseGreen+m.LateGreen > 0:
		return errors.New("the runs are good and their sum is not")
	case m.Done != m.Combinations || m.Green == 0:
		return fmt.Errorf("%d of %d combinations were run, %d visitors shown green", m.Done, m.Combinations, m.Green)
	}
	return nil
}

func (opts *MatrixOptions) setDefaults() (err error) {
	if opts.Scans == 0 {
		opts.Scans = 14
	}
	if opts.Parallel == 0 {
		opts.Parallel = 4
	}
	if opts.Limit == 0 {
		opts.Limit = 15 * time.Minute
	}
	if opts.Seed == 0 {
		opts.Seed = uint64(time.Now().UnixNano())
	}
	if opts.Dir == "" {
		opts.Dir, err = os.MkdirTemp("", "kipass-matrix-")
	} else {
		opts.Dir, err = takeDir(opts.Dir)
	}
	return err
}

// Matrix runs every combination and writes a line about each to out as it ends.
func Matrix(ctx context.Context, opts MatrixOptions, out io.Writer) (MatrixSummary, error) {
	if err := opts.setDefaults(); err != nil {
		return MatrixSummary{}, err
	}
	if os.Getuid() != 0 {
		return MatrixSummary{}, errors.New("run the matrix as root: only root can mount disks that are full or read-only")
	}
	all := combinations()
	fmt.Fprintf(out, "%d combinations, %d at a time\n", len(all), opts.Parallel)
	sum := MatrixSummary{Combinations: len(all), Seed: opts.Seed}
	began := time.Now()
	var mu sync.Mutex
	group := errgroup.Group{}
	group.SetLimit(opts.Parallel)
	for i, c := range all {
		group.Go(func() error {
			if time.Since(began) > opts.Limit || ctx.Err() != nil {
				mu.Lock()
				defer mu.Unlock()
				sum.Undone++
				return nil
			}
			run := c.options()
			run.Bin, run.Scans, run.Seed = opts.Bin, opts.Scans, opts.Seed+uint64(i)
			run.Dir = filepath.Join(opts.Dir, fmt.Sprintf("%02d", i+1))
			start := time.Now()
			result, err := Run(ctx, run)
			if err == nil {
				err = os.RemoveAll(run.Dir)
			}
			mu.Lock()
			defer mu.Unlock()
			sum.add(result, err)
			fmt.Fprintf(out, "%2d/%d  %s\n", sum.Done, len(all), lineOf(c, run, result, err, time.Since(start)))
			return nil
		})
	}
	_ = group.Wait() // no run returns an error: they are counted
	sum.Seconds = int(time.Since(began).Seconds())
	if err := sum.Err(); err != nil {
		return sum, fmt.Errorf("%w (data and logs are in %s)", err, opts.Dir)
	}
	return sum, os.RemoveAll(opts.Dir)
}

// lineOf is what is told of one run.
func lineOf(c combination, run Options, s Summary, err error, took time.Duration) string {
	verdict := "ok"
	if err != nil {
		verdict = fmt.Sprintf("FAILED: %s; again: kipass-lab run --scans %d --seed %d %s",
			strings.ReplaceAll(err.Error(), "\n", "; "), run.Scans, run.Seed, c)
	}
	const form = "%5.1fs  lost %d  duplicated %d  false_green %d  late_green %d  opened %d/%d  %s  %s"
	return fmt.Sprintf(form, took.Seconds(), s.Lost, s.Duplicated, s.FalseGreen, s.LateGreen, s.Opened, s.Truth, c, verdict)
}
