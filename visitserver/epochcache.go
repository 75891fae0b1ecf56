package visitserver

import (
	"container/list"
	"sync"

	"github.com/kipass/kipass/protocol/visit"
)

// epochCache keeps the keys of the epochs used last, so that an epoch is decapsulated once and not once a batch. It is
// safe for concurrent use.
type epochCache struct {
	key visit.SealPrivateKey
	max int

	mu    sync.Mutex
	held  map[epochName]*list.Element
	order list.List // of cachedEpoch, used last in front
}

type epochName struct {
	epoch    visit.EpochID
	facility visit.Facility
	gate     visit.Gate
}

type cachedEpoch struct {
	name   epochName
	opener *visit.Opener
}

func newEpochCache(key visit.SealPrivateKey, max int) *epochCache {
	return &epochCache{key: key, max: max, held: map[epochName]*list.Element{}}
}

// opener returns what opens the records of a gate's epoch.
func (c *epochCache) opener(f visit.Facility, g visit.Gate, e visit.Epoch) (*visit.Opener, error) {
	name := epochName{e.ID(), f, g}
	c.mu.Lock()
	if el, ok := c.held[name]; ok {
		c.order.MoveToFront(el)
		c.mu.Unlock()
		return el.Value.(cachedEpoch).opener, nil
	}
	c.mu.Unlock()
	opener, err := visit.NewOpener(c.key, f, g, e)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.held[name]; !ok {
		c.held[name] = c.order.PushFront(cachedEpoch{name, opener})
		if c.order.Len() > c.max {
			oldest := c.order.Back()
			delete(c.held, oldest.Value.(cachedEpoch).name)
			c.order.Remove(oldest)
		}
	}
	return opener, nil
}
