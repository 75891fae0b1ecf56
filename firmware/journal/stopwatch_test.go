package journal

import (
	"slices"
	"time"
)

// stopwatch keeps how long each of several stretches took.
type stopwatch struct{ laps []time.Duration }

func (w *stopwatch) time(f func()) {
	start := time.Now()
	f()
	w.laps = append(w.laps, time.Since(start))
}

// median returns seconds. Unlike the mean it does not hang on a few flushes that the disk was late with.
func (w *stopwatch) median() float64 {
	slices.Sort(w.laps)
	return w.laps[len(w.laps)/2].Seconds()
}
