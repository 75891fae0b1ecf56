package uplink

import (
	"crypto/rand"
	"errors"
	"slices"
	"sync"

	"github.com/kipass/kipass/protocol/visit"
)

// memoryJournal is a journal without a disk. It notices when a record is settled that the server does not hold.
type memoryJournal struct {
	mu         sync.Mutex
	id         visit.JournalID
	prev       visit.Chain
	epochs     []visit.Epoch
	appended   map[uint64][]byte
	waiting    []visit.Sealed
	settled    []visit.Sealed // kept
	resends    int
	quarantine map[uint64]string
	signal     chan struct{}           // closed by the next append
	stored     func(visit.Sealed) bool // whether the server holds a record; nil: nobody asks
	early      int                     // records that were settled but not stored
	peekErrs   []error                 // of the next calls
	settleErrs []settleFault           // of the next calls
	settles    int
	empty      chan struct{} // closed when the last record is settled; nil when nobody waits
}

// settleFault makes one Settle fail: with nothing done, or with it done.
type settleFault struct{ before, after error }

func newMemoryJournal(records int) *memoryJournal {
	j := &memoryJournal{
		id: visit.JournalID{1}, signal: make(chan struct{}), appended: map[uint64][]byte{}, quarantine: map[uint64]string{},
		epochs: []visit.Epoch{{First: 1, Enc: make([]byte, visit.EncSize)}},
	}
	j.prev = visit.Genesis(j.id)
	j.append(records)
	return j
}

func (j *memoryJournal) append(n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for range n {
		data := make([]byte, 90)
		rand.Read(data)
		r := visit.Sealed{Seq: uint64(len(j.appended) + 1), Data: data}
		j.appended[r.Seq] = data
		j.waiting = append(j.waiting, r)
	}
	close(j.signal)
	j.signal = make(chan struct{})
}

func (j *memoryJournal) Wait() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.signal
}

func (j *memoryJournal) Peek(maxRecords, maxBytes int) (visit.Segment, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.peekErrs) > 0 {
		err := j.peekErrs[0]
		j.peekErrs = j.peekErrs[1:]
		return visit.Segment{}, err
	}
	n := min(maxRecords, len(j.waiting))
	return visit.Segment{Journal: j.id, Prev: j.prev, Epochs: j.epochs, Records: j.waiting[:n:n]}, nil
}

func (j *memoryJournal) Settle(s visit.Settlement) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.settles++
	var fault settleFault
	if len(j.settleErrs) > 0 {
		fault, j.settleErrs = j.settleErrs[0], j.settleErrs[1:]
	}
	if fault.before != nil {
		return fault.before
	}
	if s.Journal != j.id {
		return errors.New("settlement for another journal")
	}
	for _, r := range s.Refused {
		j.quarantine[r.Seq] = r.Reason
	}
	for len(j.waiting) > 0 && j.waiting[0].Seq <= s.Through {
		r := j.waiting[0]
		if _, refused := j.quarantine[r.Seq]; !refused && j.stored != nil && !j.stored(r) {
			j.early++
		}
		j.prev = j.prev.Next(r)
		j.waiting, j.settled = j.waiting[1:], append(j.settled, r)
	}
	if len(j.waiting) == 0 && j.empty != nil {
		close(j.empty)
		j.empty = nil
	}
	return fault.after
}

// Resend implements [Source]; forgotten records are those before the first settled one.
func (j *memoryJournal) Resend(id visit.JournalID, after uint64) (n uint64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.resends++
	if id != j.id {
		return 0, errors.New("another journal is asked for")
	}
	kept := 0
	for kept < len(j.settled) && j.settled[kept].Seq <= after {
		kept++
	}
	back := j.settled[kept:]
	j.waiting = append(slices.Clone(back), j.waiting...)
	j.settled = j.settled[:kept:kept]
	j.prev = visit.Genesis(j.id)
	for seq := uint64(1); len(j.waiting) > 0 && seq < j.waiting[0].Seq; seq++ {
		j.prev = j.prev.Next(visit.Sealed{Seq: seq, Data: j.appended[seq]})
	}
	return uint64(len(back)), nil
}

// Oldest implements [Source].
func (j *memoryJournal) Oldest() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case len(j.settled) > 0:
		return j.settled[0].Seq
	case len(j.waiting) > 0:
		return j.waiting[0].Seq
	}
	return uint64(len(j.appended) + 1)
}

// forget keeps no settled record up to through any longer.
func (j *memoryJournal) forget(through uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.settled = slices.DeleteFunc(j.settled, func(r visit.Sealed) bool { return r.Seq <= through })
}

// awaitEmpty returns once everything has been settled.
func (j *memoryJournal) awaitEmpty() {
	j.mu.Lock()
	if len(j.waiting) == 0 {
		j.mu.Unlock()
		return
	}
	empty := make(chan struct{})
	j.empty = empty
	j.mu.Unlock()
	<-empty
}

func (j *memoryJournal) backlog() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.waiting)
}
