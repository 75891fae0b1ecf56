package visitserver

import (
	"context"
	"errors"
	"time"

	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

// maxDoubted is how many journals of one gate the register holds that may be those of copies. Whoever has a copy of a gate's
// key may make up as many as it likes: those beyond wait, undelivered, until an operator has looked into the gate's alerts.
const maxDoubted = 64

// welcome makes room for a journal that the register does not hold: it forgets, with e, those of the gate that nothing is
// kept of any more. The error says that there are too many in doubt. The caller holds the gate's lock.
func (s *Server) welcome(ctx context.Context, e *edit, c caller, g gateRow, id visit.JournalID, received time.Time) error {
	entries, err := s.store.List(ctx, tableJournal, c.name.String()+"/")
	if err != nil {
		return err
	}
	known := s.guard.Look().By
	doubted := 0
	for _, entry := range entries {
		var j JournalRow
		if err := j.decode(entry.Value); err != nil {
			continue // a damaged row is begun anew with the journal's next batch
		}
		if entry.Key != c.name.String()+"/"+g.Journal && j.over(known) {
			e.remove(tableJournal, entry.Key, entry.Value)
		} else if j.Doubtful {
			doubted++
		}
	}
	g.enter(id, false, c.row.Enrolled, received) // a copy, to see what it would be
	if doubted >= maxDoubted && g.Doubtful {
		refusal := httpserver.Busy.Withf("%d journals of this gate may be those of copies: look into its alerts", doubted)
		return errors.Join(refusal, s.alarm(ctx, c.name, AlertNewJournal))
	}
	return nil
}

// over reports whether nothing is kept of a journal any more: the days on which its records can have been put are destroyed.
func (j JournalRow) over(known time.Time) bool {
	last := day.Of(j.Received.Add(maxFuture))
	return !known.Before(last.DestroyAt())
}
