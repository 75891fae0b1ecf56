package uplink

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"
)

const (
	minDelay   = 50 * time.Millisecond // keeps a lucky draw from becoming a hot loop
	firstDelay = time.Second           // ceiling of the first back-off
	maxDelay   = 5 * time.Minute       // ceiling of any back-off
)

// retry is one activity that is tried again until it succeeds: what is logged of its failures, and how long to wait after
// each of them.
type retry struct {
	backoff
	failures
}

func newRetry(log *slog.Logger, activity string) retry {
	return retry{backoff{first: firstDelay, longest: maxDelay}, failures{log: log, activity: activity}}
}

// succeed begins anew: what fails next waits for the first delay and is logged.
func (r *retry) succeed() {
	r.backoff.reset()
	r.failures.end()
}

// backoff is exponential back-off with full jitter: the n-th delay is drawn from 0 to first·2ⁿ, at most longest. It
// keeps a fleet from coming back in step after an outage.
type backoff struct {
	first, longest time.Duration
	n              uint
}

// next returns the delay for another failure; draw is from 0 to 1.
func (b *backoff) next(draw float64) time.Duration {
	ceiling := b.longest
	if d := b.first << b.n; b.n < 32 && d < b.longest {
		ceiling = d
		b.n++
	}
	return max(minDelay, time.Duration(draw*float64(ceiling)))
}

func (b *backoff) reset() { b.n = 0 }

// failures logs each distinct failure of one activity once, and once that it works again.
type failures struct {
	log      *slog.Logger
	activity string
	seen     map[string]bool
	count    int
}

// maxDistinct bounds what is remembered and logged while an activity fails.
const maxDistinct = 32

// fail returns the error's text for the status.
func (f *failures) fail(err error) (text string) {
	text = steadyText(err)
	f.count++
	if f.seen == nil {
		f.seen = map[string]bool{}
	}
	if !f.seen[text] && len(f.seen) < maxDistinct {
		f.seen[text] = true
		f.log.Warn(f.activity+" failed; it is tried again", "error", text)
	}
	return text
}

func (f *failures) end() {
	if f.count > 0 {
		f.log.Info(fmt.Sprintf("%s succeeded after %d failures", f.activity, f.count), "count", f.count)
	}
	f.count, f.seen = 0, nil
}

// steadyText is the text of an error without what differs from one occurrence to the next: the local port.
func steadyText(err error) string {
	var op *net.OpError
	if !errors.As(err, &op) || op.Source == nil {
		return err.Error()
	}
	steady := *op
	steady.Source = nil
	return steady.Error()
}

// hold is a time before which something is not done. The zero hold is over.
type hold struct{ until time.Time }

// extend holds for a while from now on; it never ends a hold earlier.
func (h *hold) extend(wait time.Duration) {
	if until := time.Now().Add(wait); until.After(h.until) {
		h.until = until
	}
}

// left returns how long it holds, 0 or less when it is over.
func (h *hold) left() time.Duration { return time.Until(h.until) }

func (h *hold) release() { h.until = time.Time{} }
