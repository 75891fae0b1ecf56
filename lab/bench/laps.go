package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// laps are how long the turns of one operation took.
type laps []time.Duration

// at returns the lap below which the given share lies, in seconds: 0.5 is the median.
func (l laps) at(share float64) float64 {
	sorted := slices.Sorted(slices.Values(l))
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)].Seconds()
}

// median returns seconds. Unlike the mean it does not hang on a few flushes that the disk was late with.
func (l laps) median() float64 { return l.at(0.5) }

// over returns the median of the laps' ratios to those of another operation, taken in the same turns.
func (l laps) over(other laps) float64 {
	ratios := make([]float64, len(l))
	for i := range l {
		ratios[i] = l[i].Seconds() / other[i].Seconds()
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}

// interleave takes the turns in rounds, each as often first as last and as often after one neighbour as after the other
// – a flush leaves work behind for the next –, so that all see the same machine, until the time is
// up and there were at least the given number of rounds. The first tenth of the rounds, at least one, warms up and is
// not counted. A turn returns its own time, so that its preparation is not in it.
func interleave(ctx context.Context, span time.Duration, least int, turns ...func() (time.Duration, error)) ([]laps, error) {
	all := make([]laps, len(turns))
	warm := max(1, least/10)
	var began time.Time
	for round := 0; ; round++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if round == warm {
			began = time.Now()
		}
		if round >= warm+least && time.Since(began) > span {
			return all, nil
		}
		for i := range turns {
			n := turn(i, round, len(turns))
			took, err := turns[n]()
			if err != nil {
				return nil, err
			}
			if round >= warm {
				all[n] = append(all[n], took)
			}
		}
	}
}

// worked takes turns of an operation that needs no preparation beside how much processor time this process has used in each.
type worked struct{ cpu laps }

func (w *worked) timed(do func() error) (time.Duration, error) {
	before, err := ownCPU()
	if err != nil {
		return 0, err
	}
	took, err := timed(do)()
	if err != nil {
		return 0, err
	}
	after, err := ownCPU()
	w.cpu = append(w.cpu, after-before)
	return took, err
}

// counted returns the processor time of the last n turns: those before have warmed up.
func (w *worked) counted(n int) laps { return w.cpu[len(w.cpu)-n:] }

func ownCPU() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		return 0, fmt.Errorf("processor time of this process: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// turn returns which of n turns is the i-th of a round. The order begins one further every second round and runs
// backwards in every other.
func turn(i, round, n int) int {
	if round%2 == 1 {
		i = n - 1 - i
	}
	return (i + round/2) % n
}

// timed makes a turn of an operation that needs no preparation.
func timed(do func() error) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		began := time.Now()
		err := do()
		return time.Since(began), err
	}
}
