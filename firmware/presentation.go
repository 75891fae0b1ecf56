package firmware

import (
	"crypto/sha256"
	"time"
)

// presentationGap is how long a code must have been out of a reader's sight to be a new presentation.
const presentationGap = 2500 * time.Millisecond

// presentations tells a code held in front of a reader, which fires many reads, from one shown anew. It belongs to one
// reader and remembers digests only.
type presentations map[[sha256.Size]byte]time.Time

// begins reports whether the frame read at that moment begins a new presentation.
func (p presentations) begins(frame []byte, at time.Time) bool {
	for digest, last := range p {
		if at.Sub(last) >= presentationGap {
			delete(p, digest)
		}
	}
	digest := sha256.Sum256(frame)
	_, held := p[digest]
	p[digest] = at
	return !held
}
