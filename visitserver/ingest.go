package visitserver

import (
	"context"
	"errors"

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
	// refuseDestroyedKey: the visit is older than four weeks, or an old image of the gate's disk was put back.
	refuseDestroyedKey = "destroyed-key"
	// refuseUnknownIssuer is of a record that names an issuer which was never in a trust list.
	refuseUnknownIssuer = "unknown-issuer"
)

// taken is what became of a segment.
type taken struct {
	settled visit.Settlement
	alerts  []string
	fresh   int
	resend  *wire.Resend // nothing was taken: earlier records are needed first
}

// ingest takes a batch of a terminal's journal. When it returns without error every record is durably stored or refused
// for good, unless it asks for earlier ones. The journal's row becomes durable with the visits where all are new and of one
// day, which spares a wait for the disk, and after them else: a crash in between is a retry, and a retry finds its visits
// stored.
func (s *Server) ingest(ctx context.Context, c caller, b wire.Batch) (taken, error) {
	t, seg := c.name, b.Segment
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
	if behind(s.now(), before.journal.Placed) {
		return taken{}, notYet("the server's clock is far behind the visits it has; send again later")
	}
	next := before.journal.compare(seg, b.Oldest)
	if next.alert == AlertGap && b.Oldest < seg.Records[0].Seq {
		resend := s.askAgain(t, seg.Journal, before.journal.Last, seg.Records[0].Seq-1)
		return taken{settled: visit.Settlement{Journal: seg.Journal}, resend: resend}, nil
	}
	var e edit
	if before.journalRaw == nil {
		if err := s.welcome(ctx, &e, c, before.gate, seg.Journal, s.now()); err != nil {
			return taken{}, err
		}
	}
	in := newIntake(s, t, b, before, next.known)
	defer in.testify()
	for _, rec := range seg.Records {
		err := in.take(ctx, seg, rec)
		if errors.Is(err, errTrustBehind) {
			return taken{}, errors.Join(notYet(err.Error()), s.alarm(ctx, t, AlertTrustList))
		}
		if err != nil {
			return taken{}, err
		}
	}
	done := taken{settled: visit.Settlement{Journal: seg.Journal, Through: seg.Through(), Refused: in.refused}}
	accounted := false
	account := func(fresh int) (edit, error) {
		if next.unsure && fresh > 0 {
			next.alert = AlertRollback
		}
		accounted, done.fresh = true, fresh
		var after progress
		after, done.alerts = in.progress(before, seg, next, fresh, c)
		err := s.editProgress(ctx, &e, t, seg.Journal, before, after, done.alerts)
		return e, err
	}
	fresh, err := in.store(ctx, account)
	if err != nil {
		return taken{}, err
	}
	if !accounted {
		e, err := account(fresh)
		if err == nil {
			err = e.apply(ctx, s.store)
		}
		if err != nil {
			return taken{}, err
		}
	}
	return done, nil
}

// progress returns the rows after the segment, of which so many visits were new, and what there is to alert of.
func (in *intake) progress(
	before progress, seg visit.Segment, next continuity, fresh int, c caller,
) (after progress, alerts []string) {
	after = progress{gate: before.gate, journal: before.journal.advance(seg, next, in.refused, fresh, in.offered-fresh)}
	after.gate.Received, after.journal.Received, after.journal.Placed = in.s.certain(), in.received, in.last
	// Journals are delivered in order: what a gate reported as its backlog comes before whatever it has read since.
	after.gate.Backlog -= min(after.gate.Backlog, seg.Through()-min(seg.Through(), max(next.known, seg.Records[0].Seq-1)))
	if known := before.journalRaw != nil; fresh > 0 || !known { // a retry that was late is no other device
		if alert := after.gate.enter(seg.Journal, known, c.row.Enrolled, in.received); alert != "" {
			alerts = append(alerts, alert)
		}
	}
	if after.gate.Journal == seg.Journal.String() && after.gate.Doubtful {
		after.journal.Doubtful = true
	}
	if alert := after.gate.show(c, in.received); alert != "" {
		alerts = append(alerts, alert)
	}
	if next.alert != "" {
		alerts = append(alerts, next.alert)
	}
	if next.unproven && fresh > 0 && fresh == in.offered {
		after.gate.lack(before.gate.Added, in.received, 0)
	}
	if next.missing > 0 || in.lost {
		missing := next.missing
		if in.lost {
			missing = 0 // and those refused: not worth a count of its own
		}
		after.gate.lack(in.begin, in.received, missing)
	}
	if in.belated && fresh > 0 {
		alerts = append(alerts, AlertLate)
	}
	if in.unnamed {
		alerts = append(alerts, AlertUnknownIssuer)
	}
	if in.keyless {
		alerts = append(alerts, AlertSealKey)
	}
	return after, alerts
}

// askAgain asks a gate for records that it has seen settled, after a sequence up to settled, and the server may not hold.
func (s *Server) askAgain(t terminalName, id visit.JournalID, after, settled uint64) *wire.Resend {
	s.log.Warn("a gate is ahead of what is held of its journal, and is asked to send again",
		"facility", t.facility, "gate", t.gate, "count", settled-after)
	return &wire.Resend{Journal: id, After: after}
}
