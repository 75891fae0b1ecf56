package order

import (
	"crypto/sha256"
	"slices"
	"sync"
)

// maxRefused is how many refused orders a party remembers.
const maxRefused = 1024

// Refused remembers the orders whose refusal is in the audit log, the latest of them, so that each is told of there once
// however often it is sent. The zero value has none. It is safe for concurrent use.
type Refused struct {
	mu  sync.Mutex
	all [][sha256.Size]byte // the latest last
}

// Told reports whether the refusal of an order, as it was sent, is in the log.
func (r *Refused) Told(raw []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.all, sha256.Sum256(raw))
}

// Note takes in that it is.
func (r *Refused) Note(raw []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) == maxRefused {
		r.all = slices.Delete(r.all, 0, 1)
	}
	r.all = append(r.all, sha256.Sum256(raw))
}
