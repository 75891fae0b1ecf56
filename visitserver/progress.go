package visitserver

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/kipass/kipass/protocol/visit"
)

// gateRow is what is known of a gate over all its journals.
type gateRow struct {
	Added    time.Time `json:"added"`
	Received time.Time `json:"received"` // last batch taken
	// Journal is the one in use, and Since when its first batch came.
	Journal string    `json:"journal,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	// Doubtful says that Journal may be that of a copy of the gate, and that no operator has looked into it.
	Doubtful bool `json:"doubtful,omitempty"`
	// Newest is the serial of the newest certificate that the gate has come with, and Adopted when it first did.
	Newest  string    `json:"newest,omitempty"`
	Adopted time.Time `json:"adopted,omitzero"`
	// Delivered is when the gate last reported that nothing was left to deliver, with a journal that is not in doubt.
	Delivered time.Time `json:"delivered,omitzero"`
	Backlog   uint64    `json:"backlog,omitempty"` // what it last reported as undelivered, less what it has delivered since
	Gaps      []gapRow  `json:"gaps,omitempty"`    // ascending
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

// loadProgress reads both rows. One that is damaged counts as missing, which is logged: the gate's visits are taken all
// the same, and what the row knew is begun anew.
func (s *Server) loadProgress(ctx context.Context, t terminalName, id visit.JournalID) (p progress, err error) {
	if p.gate, p.gateRaw, err = s.loadGate(ctx, t); err != nil {
		return progress{}, err
	}
	if p.journalRaw, err = optional(s.store.Get(ctx, tableJournal, journalKey(t, id))); err != nil {
		return progress{}, err
	}
	if err := p.journal.decode(p.journalRaw); err != nil {
		p.journal = JournalRow{}
		s.log.Error("row of a journal is damaged and begun anew", "facility", t.facility, "gate", t.gate, "error", err)
	}
	return p, nil
}

// loadGate reads a gate's row, and the bytes it was read from; one that is damaged counts as missing.
func (s *Server) loadGate(ctx context.Context, t terminalName) (g gateRow, raw []byte, err error) {
	raw, err = optional(s.store.Get(ctx, tableGate, t.String()))
	if err != nil || raw == nil {
		return gateRow{}, nil, err
	}
	if err := json.Unmarshal(raw, &g); err != nil {
		s.log.Error("row of a gate is damaged and begun anew", "facility", t.facility, "gate", t.gate, "error", err)
		return gateRow{}, raw, nil
	}
	return g, raw, nil
}

// decode reads a row; nil stands for none.
func (j *JournalRow) decode(raw []byte) error {
	if raw == nil {
		return nil
	}
	if err := json.Unmarshal(raw, j); err != nil {
		return err
	}
	if n := len(j.Chain); j.Last > 0 && n != sha256.Size {
		return fmt.Errorf("chain of %d bytes, must be %d", n, sha256.Size)
	}
	return nil
}

// editProgress puts new rows in place of those that old holds with e, and raises alerts.
func (s *Server) editProgress(
	ctx context.Context, e *edit, t terminalName, id visit.JournalID, old, new progress, alerts []string,
) error {
	if err := s.raise(ctx, e, t, alerts...); err != nil {
		return err
	}
	e.put(tableGate, t.String(), old.gateRaw, new.gate)
	e.put(tableJournal, journalKey(t, id), old.journalRaw, new.journal)
	return e.err
}
