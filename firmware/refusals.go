package firmware

import (
	"crypto/sha256"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kipass/kipass/protocol/visit"
)

const (
	allRefusedFor   = time.Minute
	allRefusedCodes = 3 // different ones; a visitor who insists shows one, or a second
)

// refusals notices when every code is refused: then it is hardly the visitors who are wrong, but the gate's time, its
// trust list, or an issuer. It remembers digests only.
type refusals struct {
	mu       sync.Mutex
	since    time.Time // of the first refusal after the last admission
	codes    map[[sha256.Size]byte]struct{}
	outcomes []string // those it was, each once, sorted
}

// refused tells whether the outcome refuses something that was, or looked like, an entry code.
func refused(o visit.Outcome) bool {
	return o == visit.Expired || o == visit.NotYetValid || o == visit.UnknownIssuer || o == visit.NotGenuine
}

// note takes in the outcome of a frame read at that moment, and returns whether all codes have been refused for a minute,
// and as what. changed is false if the outcome says nothing about that.
func (r *refusals) note(o visit.Outcome, frame []byte, at time.Time) (all bool, as string, changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o.Green() {
		r.codes, r.outcomes = nil, nil
		return false, "", true
	}
	if !refused(o) {
		return false, "", false
	}
	if r.codes == nil {
		r.since, r.codes = at, map[[sha256.Size]byte]struct{}{}
	}
	if len(r.codes) < allRefusedCodes {
		r.codes[sha256.Sum256(frame)] = struct{}{}
	}
	if i, held := slices.BinarySearch(r.outcomes, o.String()); !held {
		r.outcomes = slices.Insert(r.outcomes, i, o.String())
	}
	all = len(r.codes) == allRefusedCodes && at.Sub(r.since) >= allRefusedFor
	return all, strings.Join(r.outcomes, ", "), all
}
