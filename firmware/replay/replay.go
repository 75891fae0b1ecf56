// Package replay remembers which codes a gate has admitted for as long as they could be fresh: a code opens the gate
// once. What is remembered outlasts the end of the program, however it comes, in a folder that lies in memory, and never
// reaches a disk: keyed digests of the codes of the last minute and a half, and nothing else.
package replay

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/kipass/kipass/protocol/token"
)

const (
	// RecentFor is how long after its admission a code shown again at the same lane is taken for the same person's, who
	// has not seen the green.
	RecentFor = 5 * time.Second
	// maxClaims bounds the memory of a set: at 20 scans a second, more than an hour.
	maxClaims = 1 << 17
)

// digest stands for a code, which is told by its issuer and its cti together: two issuers may give the same cti.
type digest [24]byte

// Set is what one gate remembers. It is safe for concurrent use.
type Set struct {
	mu     sync.Mutex
	key    [32]byte // of the digests
	claims map[digest]*Claim
	order  []*Claim // by time of claim; the front is forgotten first
	file   *file    // nil: nothing outlasts the program
}

// Claim is what is known of one code. A code under way to the journal is claimed: whoever else reads it waits for what
// becomes of it.
type Claim struct {
	digest  digest
	until   time.Time     // monotonic; forgotten later than this
	settled chan struct{} // closed once durable is decided
	durable bool

	admitted bool
	lane     string    // where it was admitted
	at       time.Time // and when, with a monotonic reading; zero if that was before this program's start
}

// New returns a set that forgets everything when the program ends.
func New() *Set {
	s := &Set{claims: map[digest]*Claim{}}
	rand.Read(s.key[:])
	return s
}

// Open returns a set that begins with what the last one in the same folder remembered. An empty dir gives one that
// forgets, as [New] does. The folder must lie in memory alone, else the error says so.
func Open(opts Options) (*Set, error) {
	s := New()
	if opts.Dir == "" {
		return s, nil
	}
	opts.setDefaults()
	if err := opts.volatile(opts.Dir); err != nil {
		return nil, fmt.Errorf("remembering codes: %w", err)
	}
	f, kept, err := openFile(opts, s.key)
	if err != nil {
		return nil, fmt.Errorf("remembering codes: %w", err)
	}
	s.file, s.key = f, f.key
	now := time.Now()
	for _, r := range kept {
		c := &Claim{digest: r.digest, until: now.Add(keptFor - f.age(r)), settled: make(chan struct{}), durable: true, admitted: true}
		close(c.settled)
		s.claims[r.digest] = c
		s.order = append(s.order, c)
	}
	return s, nil
}

// digestOf stands for a code in this set.
func (s *Set) digestOf(issuer string, cti token.CTI) (d digest) {
	mac := hmac.New(sha256.New, s.key[:])
	mac.Write(cti[:]) // of fixed length
	mac.Write([]byte(issuer))
	copy(d[:], mac.Sum(nil))
	return d
}

// Claim returns the claim on a code and whether the caller is its holder, who must settle it. It is forgotten after keep.
func (s *Set) Claim(issuer string, cti token.CTI, keep time.Duration) (c *Claim, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.digestOf(issuer, cti)
	now := time.Now()
	s.forget(now)
	if c, ok := s.claims[d]; ok {
		return c, false
	}
	c = &Claim{digest: d, until: now.Add(keep), settled: make(chan struct{})}
	s.claims[d] = c
	s.order = append(s.order, c)
	return c, true
}

// Settled is closed once the code's visit is durable, or is known not to be.
func (c *Claim) Settled() <-chan struct{} { return c.settled }

// Durable reports whether the visit is on the disk. It is asked once Settled is closed.
func (c *Claim) Durable() bool { return c.durable }

// Settle decides a claim. One that did not become durable is given up, so that the visitor can try again.
func (s *Set) Settle(c *Claim, durable bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.durable = durable
	if !durable && s.claims[c.digest] == c {
		delete(s.claims, c.digest)
	}
	close(c.settled)
}

// Admission is what a durable code is to whoever shows it.
type Admission uint8

const (
	First  Admission = iota // shown green for the first time: the gate opens
	Recent                  // admitted at this lane within [RecentFor]
	Used                    // admitted earlier or elsewhere
)

// Admit tells what the durable code of a claim is to the visitor whose frame was read at lane at that moment. It is First
// once only. An error says that this will not be remembered when the program ends; the answer holds all the same.
func (s *Set) Admit(c *Claim, lane string, read time.Time) (Admission, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !c.admitted:
		c.admitted, c.lane, c.at = true, lane, time.Now()
		if s.file == nil {
			return First, nil
		}
		return First, s.file.add(c.digest)
	case c.lane == lane && !c.at.IsZero() && read.Sub(c.at) <= RecentFor:
		return Recent, nil
	default:
		return Used, nil
	}
}

// Empty reports whether nothing is remembered.
func (s *Set) Empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.order) == 0 && (s.file == nil || len(s.file.kept) == 0 && s.file.f != nil)
}

// Sweep forgets what is past its time, in the folder too. It is to be called every few seconds until the set is Empty.
func (s *Set) Sweep() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(time.Now())
	if s.file == nil {
		return nil
	}
	return s.file.sweep()
}

// Close releases the file and leaves what it holds to the next program.
func (s *Set) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	err := s.file.close()
	s.file = nil
	return err
}

// forget drops what is past its time from the front. A claim with a long time may shelter later ones; they go after it.
func (s *Set) forget(now time.Time) {
	n := 0
	for n < len(s.order) && (now.After(s.order[n].until) || len(s.order)-n >= maxClaims) {
		c := s.order[n]
		if s.claims[c.digest] == c {
			delete(s.claims, c.digest)
		}
		s.order[n] = nil
		n++
	}
	s.order = s.order[n:]
}
