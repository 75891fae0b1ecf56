// Package loglimit keeps what happens again and again from filling a log: of each kind a few lines an interval are let
// through, with how many were left out before. It knows nothing of what is logged.
package loglimit

import (
	"log/slog"
	"maps"
	"sync"
	"time"
)

// Limiter lets a few events of each kind through an interval. The zero Limiter lets one through a minute. It is safe for
// concurrent use and must not be copied.
type Limiter struct {
	Every time.Duration    // 0: a minute
	Burst int              // events of one kind in an interval; 0: one
	Kinds int              // kinds that are told apart; all further ones share one interval; 0: 64
	Now   func() time.Time // nil: time.Now

	mu    sync.Mutex
	kinds map[string]kind
}

type kind struct {
	since   time.Time // begin of the interval
	events  int       // let through in it
	skipped int       // since the last that was let through
}

const defaultKinds = 64

func or[T int | time.Duration](v, d T) T {
	if v == 0 {
		return d
	}
	return v
}

// Allow reports whether an event of a kind is to be logged, and how many of it were not since the last that was.
func (l *Limiter) Allow(name string) (ok bool, skipped int) {
	now := time.Now
	if l.Now != nil {
		now = l.Now
	}
	at := now()
	l.mu.Lock()
	defer l.mu.Unlock()
	k, known := l.kinds[name]
	if !known && len(l.kinds) >= or(l.Kinds, defaultKinds) {
		maps.DeleteFunc(l.kinds, func(_ string, k kind) bool { return k.skipped == 0 && l.over(k, at) })
		if len(l.kinds) >= or(l.Kinds, defaultKinds) {
			name = ""
			k = l.kinds[name]
		}
	}
	if l.over(k, at) {
		k.since, k.events = at, 0
	}
	if ok = k.events < or(l.Burst, 1); ok {
		k.events++
		skipped, k.skipped = k.skipped, 0
	} else {
		k.skipped++
	}
	if l.kinds == nil {
		l.kinds = map[string]kind{}
	}
	l.kinds[name] = k
	return ok, skipped
}

// over reports whether the kind's interval has passed. A clock that was set does not make one longer.
func (l *Limiter) over(k kind, at time.Time) bool {
	return at.Sub(k.since).Abs() >= or(l.Every, time.Minute)
}

// Warn logs a warning, unless there were too many of the same words lately.
func (l *Limiter) Warn(log *slog.Logger, words string, args ...any) {
	ok, skipped := l.Allow(words)
	if !ok {
		return
	}
	if skipped > 0 {
		args = append(args, "count", skipped+1)
	}
	log.Warn(words, args...)
}
