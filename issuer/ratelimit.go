package issuer

import (
	"sync"
	"time"
)

// rateLimiter limits how fast one holder is given codes: a token bucket that holds a minute's codes and refills evenly. It
// forgets holders whose bucket is full again.
type rateLimiter struct {
	perMinute int
	now       func() time.Time
	mu        sync.Mutex
	buckets   map[ref]bucket
	swept     time.Time
}

type bucket struct {
	left float64
	at   time.Time
}

func newRateLimiter(perMinute int, now func() time.Time) *rateLimiter {
	return &rateLimiter{perMinute: perMinute, now: now, buckets: map[ref]bucket{}, swept: now()}
}

func (l *rateLimiter) allow(r ref) bool {
	if l.perMinute == 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if now.Sub(l.swept) > time.Minute {
		for r, b := range l.buckets {
			if now.Sub(b.at) > time.Minute {
				delete(l.buckets, r)
			}
		}
		l.swept = now
	}
	b, known := l.buckets[r]
	if !known {
		b = bucket{left: float64(l.perMinute), at: now}
	}
	if d := now.Sub(b.at); d > 0 {
		b.left = min(float64(l.perMinute), b.left+d.Minutes()*float64(l.perMinute))
	}
	b.at = now
	ok := b.left >= 1
	if ok {
		b.left--
	}
	l.buckets[r] = b
	return ok
}
