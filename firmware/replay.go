package firmware

import (
	"sync"
	"time"

	"github.com/kipass/kipass/protocol/token"
)

// replaySet remembers the codes this gate has admitted for as long as they could be fresh, so that a second scan is
// known as such. A code under way to the journal is claimed: a second reader waits for what becomes of it.
type replaySet struct {
	mu     sync.Mutex
	claims map[token.CTI]*claim
	order  []*claim // by time of claim; the front is forgotten first
}

type claim struct {
	cti     token.CTI
	until   time.Time     // monotonic; forgotten later than this
	settled chan struct{} // closed once durable is decided
	durable bool
}

// maxClaims bounds the memory of the set: at 20 scans a second, more than an hour.
const maxClaims = 1 << 17

func newReplaySet() *replaySet { return &replaySet{claims: map[token.CTI]*claim{}} }

// claim returns the claim on a code and whether the caller is its holder, who must settle it. Anyone else waits for settled.
func (s *replaySet) claim(cti token.CTI, now, until time.Time) (c *claim, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(now)
	if c, ok := s.claims[cti]; ok {
		return c, false
	}
	c = &claim{cti: cti, until: until, settled: make(chan struct{})}
	s.claims[cti] = c
	s.order = append(s.order, c)
	return c, true
}

// settle decides a claim. One that did not become durable is given up, so that the visitor can try again.
func (s *replaySet) settle(c *claim, durable bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.durable = durable
	if !durable {
		delete(s.claims, c.cti)
	}
	close(c.settled)
}

// forget drops what is past its time from the front. A claim with a long time may shelter later ones; they go after it.
func (s *replaySet) forget(now time.Time) {
	n := 0
	for n < len(s.order) && (now.After(s.order[n].until) || len(s.order)-n >= maxClaims) {
		c := s.order[n]
		if s.claims[c.cti] == c {
			delete(s.claims, c.cti)
		}
		s.order[n] = nil
		n++
	}
	s.order = s.order[n:]
}
