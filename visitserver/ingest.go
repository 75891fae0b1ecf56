package visitserver

import (
	"context"

	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// Reasons of refusals for good.
const (
	refuseUnsealable = "unsealable"
	refuseMalformed  = "malformed"
	refuseTooOld     = "too-old"
	refuseUnknownKey = "unknown-key"
)

// taken is what became of a segment.
type taken struct {
	settled visit.Settlement
	alerts  []string
	fresh   int
	resend  *wire.Resend // nothing was taken: earlier records are needed first
}

// ingest takes a segment of a terminal's journal, of which the gate can still send all from oldest on. When it returns
// without error every record is durably stored or refused for good, unless it asks for earlier ones. Visits are made
// durable first and the journal's row after: a crash in between is a retry, and a retry finds its visits stored.
func (s *Server) ingest(ctx context.Context, t terminalName, seg visit.Segment, oldest uint64) (taken, error) {
	if len(seg.Records) == 0 {
		return taken{}, httpserver.BadRequest.With("batch without records")
	}
	mu := s.gates.of(t)
	mu.Lock()
	defer mu.Unlock()

	before, err := s.loadProgress(ctx, t, seg.Journal)
	if err != nil {
		return taken{}, err
	}
	c := before.journal.compare(seg)
	if c.alert == AlertGap && oldest < seg.Records[0].Seq {
		resend := s.askAgain(t, seg.Journal, before.journal.Last, seg.Records[0].Seq-1)
		return taken{settled: visit.Settlement{Journal: seg.Journal}, resend: resend}, nil
	}
	in := newIntake(s, t, before, c.known)
	for _, rec := range seg.Records {
		if err := in.take(ctx, seg, rec); err != nil {
			return taken{}, err
		}
	}
	fresh, err := in.store(ctx)
	if err != nil {
		return taken{}, err
	}
	if c.unsure && fresh > 0 {
		c.alert = AlertRollback
	}
	after := progress{
		gate:    in.gateRow(before.gate),
		journal: before.journal.advance(seg, c, in.refused, fresh, in.offered-fresh),
	}
	if err := s.saveProgress(ctx, t, seg.Journal, before, after); err != nil {
		return taken{}, err
	}
	out := taken{settled: visit.Settlement{Journal: seg.Journal, Through: seg.Through(), Refused: in.refused}, fresh: fresh}
	if c.alert != "" {
		out.alerts = []string{c.alert}
		s.log.Warn("journal jumped", "facility", t.facility, "gate", t.gate, "alert", c.alert, "missing", c.missing)
	}
	return out, nil
}

// askAgain asks a gate for records that it has seen settled, up to settled, and the server does not hold.
func (s *Server) askAgain(t terminalName, id visit.JournalID, last, settled uint64) *wire.Resend {
	s.log.Warn("a gate is ahead of what is held of its journal, and is asked to send again",
		"facility", t.facility, "gate", t.gate, "count", settled-last)
	return &wire.Resend{Journal: id, After: last}
}
