package visitserver

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/kipass/kipass/protocol/visit"
)

// gateRow is what is known of a gate over all its journals.
type gateRow struct {
	Added    time.Time `json:"added"`
	Placed   time.Time `json:"placed"`   // newest placing of a visit
	Received time.Time `json:"received"` // last batch taken
}

// progress is the row of a gate and that of one of its journals, with the bytes they were read from.
type progress struct {
	gate                gateRow
	journal             JournalRow
	gateRaw, journalRaw []byte
}

const (
	tableGate    = "gate"
	tableJournal = "journal"
)

func journalKey(t terminalName, id visit.JournalID) string { return t.String() + "/" + id.String() }

func (s *Server) loadProgress(ctx context.Context, t terminalName, id visit.JournalID) (p progress, err error) {
	if p.gateRaw, err = load(ctx, s.store, tableGate, t.String(), &p.gate); err != nil {
		return progress{}, err
	}
	if p.journalRaw, err = load(ctx, s.store, tableJournal, journalKey(t, id), &p.journal); err != nil {
		return progress{}, err
	}
	if n := len(p.journal.Chain); p.journal.Last > 0 && n != sha256.Size {
		return progress{}, fmt.Errorf("journal %v of %v: stored chain of %d bytes is damaged", id, t, n)
	}
	return p, nil
}

// saveProgress puts new rows in place of those that old holds.
func (s *Server) saveProgress(ctx context.Context, t terminalName, id visit.JournalID, old, new progress) error {
	var e edit
	e.put(tableGate, t.String(), old.gateRaw, new.gate)
	e.put(tableJournal, journalKey(t, id), old.journalRaw, new.journal)
	return e.apply(ctx, s.store)
}
