package visitserver

import (
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

// JournalRow is what the server knows of one journal of a gate.
type JournalRow struct {
	Last     uint64         `json:"last"`   // highest sequence taken
	Chain    []byte         `json:"chain"`  // chain value after it
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
}

// compare holds a well-formed, non-empty segment against the row of its journal, which is zero for a new one.
func (j JournalRow) compare(s visit.Segment) continuity {
	first, through := s.Records[0].Seq, s.Through()
	switch {
	case first > j.Last+1:
		return continuity{alert: AlertGap, missing: first - j.Last - 1}
	case first == j.Last+1:
		want := visit.Genesis(s.Journal)
		if j.Last > 0 {
			want = visit.Chain(j.Chain)
		}
		if s.Prev != want {
			return continuity{alert: AlertFork}
		}
		return continuity{}
	case through < j.Last:
		return continuity{unsure: true}
	}
	chain := s.Prev
	for _, r := range s.Records[:j.Last-first+1] {
		chain = chain.Next(r)
	}
	switch {
	case chain == visit.Chain(j.Chain):
		return continuity{known: j.Last}
	case through == j.Last:
		return continuity{alert: AlertRollback}
	}
	return continuity{alert: AlertFork}
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
	if through >= j.Last {
		head := s.Head()
		next.Last, next.Chain = through, head[:]
	}
	return next
}
