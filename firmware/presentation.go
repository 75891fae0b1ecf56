package firmware

import (
	"crypto/sha256"
	"time"
)

// presentationGap is how long a code must have been out of a reader's sight to be a new presentation.
const presentationGap = 2500 * time.Millisecond

// presentations tells a code held in front of a reader, which fires many reads, from one shown anew. It belongs to one
// reader and remembers digests only.
type presentations struct {
	last  map[[sha256.Size]byte]time.Time
	swept time.Time // when what had gone out of sight was forgotten
}

func newPresentations() *presentations {
	return &presentations{last: map[[sha256.Size]byte]time.Time{}}
}

// begins reports whether the frame read at that moment begins a new presentation.
func (p *presentations) begins(frame []byte, at time.Time) bool {
	if at.Sub(p.swept) >= presentationGap {
		for digest, last := range p.last {
			if at.Sub(last) >= presentationGap {
				delete(p.last, digest)
			}
		}
		p.swept = at
	}
	digest := sha256.Sum256(frame)
	last, held := p.last[digest]
	p.last[digest] = at
	return !held || at.Sub(last) >= presentationGap
}
