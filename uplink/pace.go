package uplink

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// backoff is exponential back-off with full jitter: the n-th delay is drawn from 0 to first·2ⁿ, at most longest. It
// keeps a fleet from coming back in step after an outage.
type backoff struct {
	first, longest time.Duration
	n              uint
}

// shortest keeps a lucky draw from becoming a hot loop.
const shortest = 50 * time.Millisecond

// next returns the delay for another failure; draw is from 0 to 1.
func (b *backoff) next(draw float64) time.Duration {
	ceiling := b.longest
	if d := b.first << b.n; b.n < 32 && d < b.longest {
		ceiling = d
		b.n++
	}
	return max(shortest, time.Duration(draw*float64(ceiling)))
}

func (b *backoff) reset() { b.n = 0 }

// failures logs each distinct failure of one activity once, and once that it works again.
type failures struct {
	log  *slog.Logger
	what string
	seen map[string]bool
	n    int
}

// maxDistinct bounds what is remembered and logged while an activity fails.
const maxDistinct = 32

func (f *failures) fail(err error) (text string) {
	text = plain(err)
	f.n++
	if f.seen == nil {
		f.seen = map[string]bool{}
	}
	if !f.seen[text] && len(f.seen) < maxDistinct {
		f.seen[text] = true
		f.log.Warn(f.what+" failed; it is tried again", "err", text)
	}
	return text
}

func (f *failures) succeed() {
	if f.n > 0 {
		f.log.Info(fmt.Sprintf("%s succeeded after %d failures", f.what, f.n), "failures", f.n)
	}
	f.n, f.seen = 0, nil
}

// plain is the text of an error without what differs from one occurrence to the next: the local port.
func plain(err error) string {
	var op *net.OpError
	if !errors.As(err, &op) || op.Source == nil {
		return err.Error()
	}
	steady := *op
	steady.Source = nil
	return steady.Error()
}
