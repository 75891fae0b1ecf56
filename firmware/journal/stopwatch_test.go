package journal

import "time"

// stopwatch adds up the time spent in several stretches.
type stopwatch struct{ sum time.Duration }

func (w *stopwatch) time(f func()) {
	start := time.Now()
	f()
	w.sum += time.Since(start)
}

func (w *stopwatch) seconds() float64 { return w.sum.Seconds() }
