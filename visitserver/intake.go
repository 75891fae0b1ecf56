package visitserver

import (
	"context"
	"errors"
	"time"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
	"github.com/kipass/kipass/visitserver/rowcipher"
	"github.com/kipass/kipass/visitserver/store"
)

// intake gathers what a segment holds.
type intake struct {
	s        *Server
	name     terminalName
	received time.Time
	last     time.Time // newest placing of the journal, not after received
	begin    time.Time // last, before the segment
	known    uint64    // records up to here are retries
	records  int       // in the segment
	trust    uint64    // version of the trust list that the gate has
	journal  visit.JournalID
	gate     gateRow // before the segment
	recent   []visit.Refusal

	opener *visit.Opener // of the epoch that begins at epoch, nil at first
	epoch  uint64

	days    map[day.Day][]pending // in the order of the segment
	refused []visit.Refusal
	lost    bool                 // some were refused that may have been visits
	belated bool                 // some are of a time for which the gate had reported that all was delivered
	unnamed bool                 // some name an issuer that was never in a trust list
	keyless bool                 // some are sealed to a key that there is not, or no longer
	offered int                  // visits for the store, those it holds already included
	heard   map[string]time.Time // by issuer: when its newest code was read by a clock that the gate trusted
}

// newIntake begins a batch whose records up to known were taken before.
func newIntake(s *Server, t terminalName, b wire.Batch, before progress, known uint64) *intake {
	in := &intake{
		s: s, name: t, received: s.now().UTC().Truncate(time.Millisecond), last: before.journal.Placed,
		known: known, trust: b.Trust, journal: b.Segment.Journal, gate: before.gate,
		records: len(b.Segment.Records), recent: before.journal.Recent, days: map[day.Day][]pending{},
		heard: map[string]time.Time{},
	}
	if in.last.IsZero() {
		in.last = before.gate.Added
	}
	in.begin = in.last
	return in
}

// take has a record refused or made a row.
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
	if reason == "" && !in.s.issuers.ever(v.Issuer) {
		if in.trust > in.s.trust.Load() {
			return errTrustBehind
		}
		reason, in.unnamed = refuseUnknownIssuer, true
	}
	if reason != "" {
		in.lost = in.lost || reason != refuseUnknownIssuer
		in.refused = append(in.refused, visit.Refusal{Seq: rec.Seq, Reason: reason})
		return nil
	}
	if v.Clock != visit.ClockUntrusted && v.At.After(in.heard[v.Issuer]) {
		in.heard[v.Issuer] = v.At
	}
	p, key, err := in.place(v)
	if errors.Is(err, errTooOld) {
		in.refused = append(in.refused, visit.Refusal{Seq: rec.Seq, Reason: refuseTooOld})
		return nil
	}
	if err != nil {
		return err
	}
	in.offered++
	if held, err := in.heldElsewhere(ctx, v, p); err != nil || held {
		return err
	}
	in.add(v, p, key)
	return nil
}

var (
	errTooOld = errors.New("day of visit is destroyed")
	// errTrustBehind says that a gate knows a trust list which this server does not: an issuer that is unknown here may
	// be in it.
	errTrustBehind = errors.New("the server's trust list is older than the gate's")
)

// place returns where a visit is put in time and the key of that day; errTooOld if the day is destroyed.
func (in *intake) place(v visit.Visit) (placement, *rowcipher.Key, error) {
	p, ok := place(v, in.last, in.received)
	if !ok {
		if err := in.s.reallyTooOld(lastDay(v)); err != nil {
			return placement{}, nil, err
		}
		return placement{}, nil, errTooOld
	}
	key, err := in.s.keys.Make(day.Of(p.at))
	if errors.Is(err, daykey.ErrNoKey) { // destroyed, and the clock put back since
		err = errTooOld
	}
	return p, key, err
}

// add puts a visit to those of its day.
func (in *intake) add(v visit.Visit, p placement, key *rowcipher.Key) {
	d := day.Of(p.at)
	record := rowcipher.Record{Visit: v, Received: in.received, Journal: in.journal}
	of, ok := in.days[d]
	if !ok && len(in.days) == 0 { // most batches are of one day
		of = make([]pending, 0, in.records)
	}
	in.days[d] = append(of, pending{Record: record, key: key, at: p.at})
	in.belated = in.belated || in.gate.belated(v)
	if !p.moved && p.at.After(in.last) && !p.at.After(in.received) { // an issuer's word alone says nothing of other visits
		in.last = p.at
	}
}

// store makes the visits durable and returns how many of them were new. If they are of one day and all new, it has them
// accounted for in the same commit.
func (in *intake) store(ctx context.Context, account func(fresh int) (edit, error)) (fresh int, err error) {
	for d, records := range in.days {
		n, err := in.storeDay(ctx, d, records, func(n int) ([]store.Change, error) {
			if len(in.days) > 1 || n < len(records) {
				return nil, nil
			}
			e, err := account(n)
			return e.changes, err
		})
		if errors.Is(err, store.ErrRetired) {
			// The day was destroyed between reading the clock and storing; asked again, its records are too old.
			return 0, httpserver.Busy.With("a day of visit was destroyed meanwhile; send again")
		}
		if err != nil {
			return 0, err
		}
		fresh += n
	}
	return fresh, nil
}

func (in *intake) storeDay(ctx context.Context, d day.Day, records []pending, account store.Account) (fresh int, err error) {
	rows := make([]store.Row, len(records))
	for i, r := range records {
		if rows[i], err = r.seal(in.name); err != nil {
			return 0, err
		}
	}
	fresh, err = in.s.store.Put(ctx, in.name.facility, d, rows, account)
	if err != nil || fresh == len(rows) {
		return fresh, err
	}
	if rows, err = in.separate(ctx, d, records); err != nil || len(rows) == 0 {
		return fresh, err
	}
	more, err := in.s.store.Put(ctx, in.name.facility, d, rows, nil)
	return fresh + more, err
}

func (in *intake) open(seg visit.Segment, rec visit.Sealed) (visit.Visit, string) {
	if !rec.WellFormed() {
		return visit.Visit{}, refuseMalformed
	}
	epoch, ok := seg.EpochOf(rec.Seq)
	if !ok {
		return visit.Visit{}, refuseUnsealable
	}
	key, ok, gone := in.s.seals.find(epoch.Key)
	if !ok {
		in.keyless = true
		if gone {
			return visit.Visit{}, refuseDestroyedKey
		}
		return visit.Visit{}, refuseUnknownKey
	}
	if in.opener == nil || in.epoch != epoch.First { // naming an epoch costs a digest of it: not for each record
		opener, err := in.s.epochs.opener(key.key, in.name.facility, in.name.gate, epoch)
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

// testify tells the guard what the records say of the time, whatever becomes of them.
func (in *intake) testify() {
	for issuer, at := range in.heard {
		in.s.guard.Hear(issuer, in.name.String(), at)
	}
}

// reallyTooOld returns an error that lets the gate keep its records while the day counts as destroyed only by a clock
// that is in doubt: a server whose clock has jumped ahead refuses nothing for good.
func (s *Server) reallyTooOld(d day.Day) error {
	if s.guard.Look().By.Before(d.DestroyAt()) {
		return notYet("the server's clock is in doubt; send again later")
	}
	return nil
}
