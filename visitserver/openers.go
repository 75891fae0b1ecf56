package visitserver

import (
	"container/list"
	"sync"

	"github.com/kipass/kipass/protocol/visit"
)

// openers keeps the epoch keys used last, so that an epoch is decapsulated once and not once a batch. It is safe for
// concurrent use.
type openers struct {
	key  visit.SealPrivateKey
	most int

	mu    sync.Mutex
	held  map[openerName]*list.Element
	order list.List // of openerEntry, used last in front
}

type openerName struct {
	epoch    visit.EpochID
	facility visit.Facility
	gate     visit.Gate
}

type openerEntry struct {
	name   openerName
	opener *visit.Opener
}

func newOpeners(key visit.SealPrivateKey, most int) *openers {
	return &openers{key: key, most: most, held: map[openerName]*list.Element{}}
}

func (o *openers) opener(f visit.Facility, g visit.Gate, e visit.Epoch) (*visit.Opener, error) {
	name := openerName{e.ID(), f, g}
	o.mu.Lock()
	if el, ok := o.held[name]; ok {
		o.order.MoveToFront(el)
		o.mu.Unlock()
		return el.Value.(openerEntry).opener, nil
	}
	o.mu.Unlock()
	opener, err := visit.NewOpener(o.key, f, g, e)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.held[name]; !ok {
		o.held[name] = o.order.PushFront(openerEntry{name, opener})
		if o.order.Len() > o.most {
			oldest := o.order.Back()
			delete(o.held, oldest.Value.(openerEntry).name)
			o.order.Remove(oldest)
		}
	}
	return opener, nil
}
