// Package loglimit keeps what happens again and again from filling a log: of each kind one line an interval is let through,
// with how many were left out before it. It knows nothing of what is logged.
package loglimit

import (
	"sync"
	"time"
)

// Limiter lets one event of each kind through an interval. The zero Limiter lets one through a minute. It is safe for
// concurrent use and must not be copied.
type Limiter struct {
	Every time.Duration    // 0: a minute
	Now   func() time.Time // nil: time.Now

	mu    sync.Mutex
	kinds map[string]kind
}

type kind struct {
	since   time.Time // the last that was let through
	skipped int       // since then
}

// maxKinds bounds what is remembered. Beyond it all further kinds share one interval.
const maxKinds = 64

// Allow reports whether an event of a kind is to be logged, and how many of it were not since the last that was.
func (l *Limiter) Allow(name string) (ok bool, skipped int) {
	now, every := time.Now, l.Every
	if l.Now != nil {
		now = l.Now
	}
	if every == 0 {
		every = time.Minute
	}
	at := now()
	l.mu.Lock()
	defer l.mu.Unlock()
	k, known := l.kinds[name]
	if !known && len(l.kinds) >= maxKinds {
		name = ""
		k, known = l.kinds[name]
	}
	if known && at.Sub(k.since).Abs() < every {
		k.skipped++
		l.kinds[name] = k
		return false, 0
	}
	if l.kinds == nil {
		l.kinds = map[string]kind{}
	}
	l.kinds[name] = kind{since: at}
	return true, k.skipped
}
