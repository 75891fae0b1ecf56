package visitserver

import (
	"container/list"
	"sync"

	"github.com/kipass/kipass/protocol/visit"
)

// epochCache keeps the keys of the epochs used last, so that an epoch is decapsulated once and not once a batch. It is
// safe for concurrent use.
type epochCache struct {
	max int

	mu    sync.Mutex
	held  map[epochName]*list.Element
	order list.List // of cachedEpoch, used last in front
	gone  map[visit.SealKeyID]bool
}

type epochName struct {
	epoch    visit.EpochID
	facility visit.Facility
	gate     visit.Gate
}

type cachedEpoch struct {
	name   epochName
	key    visit.SealKeyID
	opener *visit.Opener
}

func newEpochCache(max int) *epochCache {
	return &epochCache{max: max, held: map[epochName]*list.Element{}, gone: map[visit.SealKeyID]bool{}}
}

// opener returns what opens the records of a gate's epoch, which was sealed to key.
func (c *epochCache) opener(key visit.SealPrivateKey, f visit.Facility, g visit.Gate, e visit.Epoch) (*visit.Opener, error) {
	name := epochName{e.ID(), f, g}
	c.mu.Lock()
	if el, ok := c.held[name]; ok {
		c.order.MoveToFront(el)
		c.mu.Unlock()
		return el.Value.(cachedEpoch).opener, nil
	}
	c.mu.Unlock()
	opener, err := visit.NewOpener(key, f, g, e)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.held[name]; !ok && !c.gone[key.ID()] {
		c.held[name] = c.order.PushFront(cachedEpoch{name, key.ID(), opener})
		if c.order.Len() > c.max {
			oldest := c.order.Back()
			delete(c.held, oldest.Value.(cachedEpoch).name)
			c.order.Remove(oldest)
		}
	}
	return opener, nil
}

// forget drops the epochs that were sealed to a key which has been destroyed, and keeps none of them from now on: a batch
// that found the key before may still be at work with it.
func (c *epochCache) forget(key visit.SealKeyID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone[key] = true
	for name, el := range c.held {
		if el.Value.(cachedEpoch).key == key {
			delete(c.held, name)
			c.order.Remove(el)
		}
	}
}
