package visitserver

import (
	"bytes"
	"slices"
	"time"

	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// Alerts a receipt may carry, and the gate's row counts.
const (
	AlertGap      = "gap"      // sequences are missing between what was known and what came
	AlertFork     = "fork"     // the journal's chain is not the continuation of what was known
	AlertRollback = "rollback" // an older state of the journal has come back and gone on differently
)

// maxHeld is how many ends of one journal the register knows. A device whose end is forgotten for those of others sends again
// what it keeps.
const maxHeld = 8

// heldEnd is a record of a journal up to which nothing lacks that its gate could still send, with the chain value after it.
type heldEnd struct {
	Seq   uint64 `json:"seq"`
	Chain []byte `json:"chain"`
}

// JournalRow is what the server knows of one journal of a gate.
type JournalRow struct {
	Last  uint64 `json:"last"`  // highest sequence taken
	Chain []byte `json:"chain"` // chain value after it
	// Held are the ends of what is held, the newest last: one for each device if the gate was copied. They write different
	// records under the same sequences, and Last is of one of them.
	Held     []heldEnd      `json:"held,omitempty"`
	Stored   uint64         `json:"stored"` // visits stored from it
	Again    uint64         `json:"again"`  // records that were visits stored already
	Refused  uint64         `json:"refused"`
	Missing  uint64         `json:"missing"` // sequences that never came
	Alerts   map[string]int `json:"alerts,omitempty"`
	Placed   time.Time      `json:"placed,omitzero"` // newest proven time of a visit
	Received time.Time      `json:"received"`        // when its last batch was
	// Doubtful says that the journal may be that of a copy of the gate, and that no operator has looked into it.
	Doubtful bool `json:"doubtful,omitempty"`
	// Recent are the refusals among the records the gate may not have seen settled: they are told again when it asks again.
	Recent []visit.Refusal `json:"recent,omitempty"`
}

// continuity is how a segment continues what is known of its journal.
type continuity struct {
	alert   string
	known   uint64 // records up to here are the very ones taken before
	unsure  bool   // records up to the row's Last may be a retry or a roll-back; which, their storing will show
	missing uint64
	// unproven says that the gate can send nothing earlier, and that nothing shows whether all of that is held.
	unproven bool
	head     visit.Chain // after the segment
	held     []heldEnd   // once it is taken
}

// compare holds a well-formed, non-empty segment against the row of its journal, which is zero for a new one. oldest is what
// the gate can still send.
func (j JournalRow) compare(s visit.Segment, oldest uint64) continuity {
	first, through := s.Records[0].Seq, s.Through()
	last, atLast := visit.Genesis(s.Journal), visit.Chain{}
	if j.Last > 0 {
		last = visit.Chain(j.Chain)
	}
	c := continuity{head: s.Prev, held: slices.Clone(j.Held)}
	for seq := first - 1; ; seq++ {
		if seq == j.Last {
			atLast = c.head
		}
		if n := len(c.held); n > 0 {
			c.held = slices.DeleteFunc(c.held, func(e heldEnd) bool { return e.is(seq, c.head) })
			if len(c.held) < n {
				c.known = seq
			}
		}
		if seq == through {
			break
		}
		c.head = c.head.Next(s.Records[seq-first+1])
	}
	if c.known > 0 || oldest >= first {
		c.held = append(c.held, heldEnd{Seq: through, Chain: c.head[:]})
		c.held = c.held[max(0, len(c.held)-maxHeld):]
	}
	switch {
	case first > j.Last+1:
		c.alert, c.missing = AlertGap, first-j.Last-1
		return c
	case through < j.Last:
		c.unsure = true
	case atLast == last:
	case first <= j.Last && through == j.Last:
		c.alert = AlertRollback
	default:
		c.alert = AlertFork
	}
	c.unproven = c.known == 0 && first > 1 && oldest >= first
	return c
}

func (e heldEnd) is(seq uint64, chain visit.Chain) bool {
	return e.Seq == seq && bytes.Equal(e.Chain, chain[:])
}

// lacks reports whether the gate of a heartbeat has seen more settled than is held, and after which sequence it has to send
// again. One that has something to deliver may be a step behind what is held.
func (j JournalRow) lacks(h wire.Heartbeat) (after uint64, lacks bool) {
	switch {
	case h.Journal == (visit.JournalID{}) || h.Settled == 0:
		return 0, false
	case slices.ContainsFunc(j.Held, func(e heldEnd) bool { return e.is(h.Settled, h.Chain) }):
		return 0, false
	case h.Settled > j.Last:
		return j.Last, true
	}
	return 0, h.Backlog == 0
}

// advance returns the row after the segment was taken. refused are all refusals among its records, fresh and again what
// became of the others.
func (j JournalRow) advance(s visit.Segment, c continuity, refused []visit.Refusal, fresh, again int) JournalRow {
	first, through := s.Records[0].Seq, s.Through()
	next := j
	next.Recent = slices.Clone(refused)
	for _, old := range j.Recent {
		if old.Seq > through {
			next.Recent = append(next.Recent, old)
		}
	}
	// A gate has one batch under way, which is cut anew at most: more than one's records need not be told again, in whatever
	// order somebody sends them.
	next.Recent = next.Recent[max(0, len(next.Recent)-wire.MaxRecords):]
	for _, f := range refused {
		if !slices.ContainsFunc(j.Recent, func(old visit.Refusal) bool { return old.Seq == f.Seq && old.Seq >= first }) {
			next.Refused++
		}
	}
	next.Stored += uint64(fresh)
	next.Again += uint64(again)
	next.Missing += c.missing
	if c.alert != "" {
		next.Alerts = map[string]int{c.alert: 1}
		for a, n := range j.Alerts {
			next.Alerts[a] += n
		}
	}
	next.Held = c.held
	if through >= j.Last {
		next.Last, next.Chain = through, c.head[:]
	}
	return next
}
