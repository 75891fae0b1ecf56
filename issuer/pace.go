package issuer

import (
	"sync"
	"time"
)

// pace limits how fast one holder is given codes: a bucket of a minute's codes that refills evenly. It forgets holders
// whose bucket is full again.
type pace struct {
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

func newPace(perMinute int, now func() time.Time) *pace {
	return &pace{perMinute: perMinute, now: now, buckets: map[ref]bucket{}, swept: now()}
}

func (p *pace) allow(r ref) bool {
	if p.perMinute == 0 {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if now.Sub(p.swept) > time.Minute {
		for r, b := range p.buckets {
			if now.Sub(b.at) > time.Minute {
				delete(p.buckets, r)
			}
		}
		p.swept = now
	}
	b, known := p.buckets[r]
	if !known {
		b = bucket{left: float64(p.perMinute), at: now}
	}
	if d := now.Sub(b.at); d > 0 {
		b.left = min(float64(p.perMinute), b.left+d.Minutes()*float64(p.perMinute))
	}
	b.at = now
	ok := b.left >= 1
	if ok {
		b.left--
	}
	p.buckets[r] = b
	return ok
}
