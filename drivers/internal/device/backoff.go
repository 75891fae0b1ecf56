package device

import "time"

// Backoff gives the pauses between attempts: First, then twice as long each time, up to Last. It belongs to one
// goroutine.
type Backoff struct {
	First, Last time.Duration

	next time.Duration // 0 for First
}

// Next returns the pause after one more attempt that failed.
func (b *Backoff) Next() time.Duration {
	pause := max(b.next, b.First)
	b.next = min(2*pause, b.Last)
	return pause
}

// Reset is called when the device worked: the next pause is First again.
func (b *Backoff) Reset() { b.next = 0 }
