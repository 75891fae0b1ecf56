package visitserver

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/rowcipher"
	"github.com/kipass/kipass/visitserver/store"
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
}

// dayRows are the rows of one day of a segment, in its order.
type dayRows struct {
	key  *rowcipher.Key
	rows []store.Row
}

// ingest takes a segment of a terminal's journal. When it returns without error every record is durably stored or
// refused for good. Visits are made durable first and the journal's row after: a crash in between is a retry, and a
// retry finds its visits stored.
func (s *Server) ingest(ctx context.Context, t terminalName, seg visit.Segment) (taken, error) {
	if len(seg.Records) == 0 {
		return taken{}, httpserver.BadRequest.With("batch without records")
	}
	mu := s.gates.of(t)
	mu.Lock()
	defer mu.Unlock()

	received := s.now().UTC().Truncate(time.Millisecond)
	before, err := s.loadProgress(ctx, t, seg.Journal)
	if err != nil {
		return taken{}, err
	}
	row := before.journal
	c := row.compare(seg)
	in := &intake{s: s, name: t, received: received, last: before.gate.Placed, known: c.known, recent: row.Recent,
		days: map[day.Day]*dayRows{}}
	if in.last.IsZero() {
		in.last = before.gate.Added
	}
	for _, rec := range seg.Records {
		if err := in.take(ctx, seg, rec); err != nil {
			return taken{}, err
		}
	}
	fresh := 0
	for d, of := range in.days {
		n, err := s.store.Put(ctx, t.facility, d, of.rows)
		if errors.Is(err, store.ErrRetired) {
			// The day was destroyed between reading the clock and storing; asked again, its records are too old.
			return taken{}, httpserver.Busy.With("a day of visit was destroyed meanwhile; send again")
		}
		if err != nil {
			return taken{}, err
		}
		fresh += n
	}
	if c.unsure && fresh > 0 {
		c.alert = AlertRollback
	}
	next := row.advance(seg, c, in.refused, fresh, in.offered-fresh)
	gate := before.gate
	gate.Received = received
	if in.last.After(gate.Placed) {
		gate.Placed = in.last
	}
	if err := s.saveProgress(ctx, t, seg.Journal, before, gate, next); err != nil {
		return taken{}, err
	}
	out := taken{settled: visit.Settlement{Journal: seg.Journal, Through: seg.Through(), Refused: in.refused}, fresh: fresh}
	if c.alert != "" {
		out.alerts = []string{c.alert}
		s.log.Warn("journal jumped", "facility", t.facility, "gate", t.gate, "alert", c.alert, "missing", c.missing)
	}
	return out, nil
}

// intake gathers what a segment holds.
type intake struct {
	s        *Server
	name     terminalName
	received time.Time
	last     time.Time // newest placing of the gate, not after received
	known    uint64    // records up to here are retries
	recent   []visit.Refusal

	opener *visit.Opener // of the epoch that begins at epoch, nil at first
	epoch  uint64

	days    map[day.Day]*dayRows
	refused []visit.Refusal
	offered int
}

func (in *intake) take(ctx context.Context, seg visit.Segment, rec visit.Sealed) error {
	if rec.Seq <= in.known {
		for _, old := range in.recent {
			if old.Seq == rec.Seq {
				in.refused = append(in.refused, old)
			}
		}
		return nil
	}
	v, reason := in.open(seg, rec)
	if reason != "" {
		in.refused = append(in.refused, visit.Refusal{Seq: rec.Seq, Reason: reason})
		return nil
	}
	p, ok := place(v, in.last, in.received)
	if !ok {
		if err := in.s.reallyTooOld(day.Of(v.At)); err != nil {
			return err
		}
		in.refused = append(in.refused, visit.Refusal{Seq: rec.Seq, Reason: refuseTooOld})
		return nil
	}
	d := day.Of(p.at)
	key, err := in.s.keys.Make(d)
	if errors.Is(err, daykey.ErrNoKey) { // destroyed, and the clock put back since
		in.refused = append(in.refused, visit.Refusal{Seq: rec.Seq, Reason: refuseTooOld})
		return nil
	}
	if err != nil {
		return err
	}
	in.offered++
	held, err := in.heldElsewhere(ctx, v, p)
	if err != nil || held {
		return err
	}
	of := in.days[d]
	if of == nil {
		of = &dayRows{key: key}
		in.days[d] = of
	}
	row, err := of.key.Seal(in.name.facility, in.name.gate, p.at, v)
	if err != nil {
		return err
	}
	of.rows = append(of.rows, row)
	if p.at.After(in.last) && !p.at.After(in.received) {
		in.last = p.at
	}
	return nil
}

func (in *intake) open(seg visit.Segment, rec visit.Sealed) (visit.Visit, string) {
	epoch, ok := seg.EpochOf(rec.Seq)
	if !ok {
		return visit.Visit{}, refuseUnsealable
	}
	if epoch.Key != in.s.seal.ID() {
		return visit.Visit{}, refuseUnknownKey
	}
	if in.opener == nil || in.epoch != epoch.First { // naming an epoch costs a digest of it: not for each record
		opener, err := in.s.epochs.opener(in.name.facility, in.name.gate, epoch)
		if err != nil {
			return visit.Visit{}, refuseUnsealable
		}
		in.opener, in.epoch = opener, epoch.First
	}
	v, err := in.opener.Open(rec.Seq, rec.Data)
	switch {
	case errors.Is(err, visit.ErrRecord):
		return visit.Visit{}, refuseMalformed
	case err != nil:
		return visit.Visit{}, refuseUnsealable
	}
	return v, ""
}

// reallyTooOld returns an error that lets the gate keep its records while the day counts as destroyed only by a clock
// that is in doubt: a server whose clock has jumped ahead refuses nothing for good.
func (s *Server) reallyTooOld(d day.Day) error {
	horizon, err := s.guard.Look()
	if err != nil {
		return err
	}
	if horizon.By.Before(d.DestroyAt()) {
		return httpserver.Busy.With("the server's clock is in doubt; send again later")
	}
	return nil
}

// midnight is how close to a day's edge the same code may be met on either side of it: its life and the largest skew.
const midnight = time.Minute

// heldElsewhere reports whether a visit is already stored on another day than the one it is placed on: a code read on
// both sides of midnight, or a record whose time was moved and that comes again later.
func (in *intake) heldElsewhere(ctx context.Context, v visit.Visit, p placement) (bool, error) {
	on := day.Of(p.at)
	from, to := day.Of(p.at.Add(-midnight)), day.Of(p.at.Add(midnight))
	if p.moved {
		from, to = day.OldestKept(in.received), day.Of(in.received)
	}
	for d := from; d <= to; d++ {
		if d == on {
			continue
		}
		key, err := in.s.keys.Key(d)
		if errors.Is(err, daykey.ErrNoKey) {
			continue
		}
		if err != nil {
			return false, err
		}
		blind := key.Blind(v.Issuer, v.CTI)
		if of := in.days[d]; of != nil {
			for _, r := range of.rows {
				if r.Blind == blind {
					return true, nil
				}
			}
		}
		held, err := in.s.store.Holds(ctx, in.name.facility, d, blind)
		if err != nil || held {
			return held, err
		}
	}
	return false, nil
}

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

func (s *Server) saveProgress(ctx context.Context, t terminalName, id visit.JournalID, old progress, gate gateRow, row JournalRow) error {
	g, err := change(tableGate, t.String(), old.gateRaw, gate)
	if err != nil {
		return err
	}
	j, err := change(tableJournal, journalKey(t, id), old.journalRaw, row)
	if err != nil {
		return err
	}
	return s.store.Swap(ctx, g, j)
}
