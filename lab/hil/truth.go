package hil

import (
	"errors"
	"fmt"
	"sync"

	"github.com/fxamacker/cbor/v2"

	"github.com/kipass/kipass/lab/hil/guest"
	"github.com/kipass/kipass/lab/hil/job"
	"github.com/kipass/kipass/protocol/visit"
)

// errLost means that a visit for which a gate would have shown green is not in the journal.
var errLost = errors.New("acknowledged visits are lost")

// truth is what the host knows of a journal that lies in a machine whose power is cut again and again: what was
// acknowledged, and what was found after each cut. It holds the visit server's private key. It is safe for concurrent use.
type truth struct {
	key visit.SealPrivateKey

	mu      sync.Mutex
	journal visit.JournalID
	known   uint64            // newest record found on the disk and opened
	chain   visit.Chain       // behind it
	settled uint64            // what the journal was last told the server has
	acked   map[uint64]uint64 // visit's number by sequence, of what is not yet known
	newest  uint64            // newest sequence ever acknowledged
	total   int               // acknowledged ever
	opened  int               // records opened with the private key
	lost    uint64            // sequences acknowledged and not found
	extra   int               // records found that were not acknowledged: the power went before the host heard of it
}

func newTruth() (*truth, error) {
	key, err := visit.GenerateSealKey()
	if err != nil {
		return nil, err
	}
	return &truth{key: key, acked: map[uint64]uint64{}}, nil
}

// ack notes what the gate would have shown green for.
func (t *truth) ack(a job.Acked) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if other, twice := t.acked[a.Seq]; twice || a.Seq <= t.known {
		return fmt.Errorf("sequence %d was acknowledged for visit %d although it is visit %d's", a.Seq, a.Number, other)
	}
	t.acked[a.Seq] = a.Number
	t.newest = max(t.newest, a.Seq)
	t.total++
	return nil
}

// inspect holds a journal, as it was found after a cut, to what was acknowledged before it. The error tells all that
// is wrong.
func (t *truth) inspect(o job.Opened) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var s visit.Segment
	if err := cbor.Unmarshal(o.Segment, &s); err != nil {
		return fmt.Errorf("reading the records found: %w", err)
	}
	if t.journal == (visit.JournalID{}) {
		t.journal, t.chain = s.Journal, visit.Genesis(s.Journal)
	}
	var wrong []error
	note := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if s.Journal != t.journal {
		note("journal %v was replaced by %v", t.journal, s.Journal)
	}
	if o.Damage != "" || o.Replaced > 0 {
		note("damage: %s (%d files set aside)", o.Damage, o.Replaced)
	}
	if o.Ledger != "" {
		note("ledger: %s", o.Ledger)
	}
	if o.Tail > t.settled {
		note("records up to %d have left the journal, the server has those up to %d", o.Tail, t.settled)
	}
	if o.Head < t.newest {
		t.lost = t.newest - o.Head
		note("%w: the newest record is %d, %d was acknowledged", errLost, o.Head, t.newest)
	}
	if err := s.Check(); err != nil {
		note("records: %w", err)
	}
	if s.Prev != t.chain {
		note("the chain was broken at record %d", t.known)
	}
	if n := uint64(len(s.Records)); t.known+n != o.Head {
		note("%d records were found behind %d, the newest is %d", n, t.known, o.Head)
	}
	if len(wrong) == 0 {
		wrong = append(wrong, t.open(s))
	}
	if err := errors.Join(wrong...); err != nil {
		return err
	}
	t.known, t.chain = o.Head, s.Head()
	return nil
}

// open opens every record and compares it with what was acknowledged under its sequence.
func (t *truth) open(s visit.Segment) error {
	openers := map[uint64]*visit.Opener{}
	for _, r := range s.Records {
		e, ok := s.EpochOf(r.Seq)
		if !ok {
			return fmt.Errorf("record %d has no epoch", r.Seq)
		}
		if openers[e.First] == nil {
			o, err := visit.NewOpener(t.key, guest.Facility, guest.Gate, e)
			if err != nil {
				return err
			}
			openers[e.First] = o
		}
		v, err := openers[e.First].Open(r.Seq, r.Data)
		if err != nil {
			return err
		}
		t.opened++
		number, ok := t.acked[r.Seq]
		if !ok {
			t.extra++
			continue
		}
		if v.CTI != guest.VisitOf(number, v.At).CTI {
			return fmt.Errorf("record %d is not the visit %d that was acknowledged with it", r.Seq, number)
		}
		delete(t.acked, r.Seq)
	}
	if t.lost = uint64(len(t.acked)); t.lost > 0 {
		return fmt.Errorf("%d %w", t.lost, errLost)
	}
	return nil
}
