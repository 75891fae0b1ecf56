package visitserver

import (
	"context"
	"errors"
	"time"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/rowcipher"
	"github.com/kipass/kipass/visitserver/store"
)

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

	days    map[day.Day][]store.Row // in the order of the segment
	refused []visit.Refusal
	offered int // visits for the store, those it holds already included
}

// newIntake begins a segment whose records up to known were taken before.
func newIntake(s *Server, t terminalName, before progress, known uint64) *intake {
	in := &intake{
		s: s, name: t, received: s.now().UTC().Truncate(time.Millisecond), last: before.gate.Placed,
		known: known, recent: before.journal.Recent, days: map[day.Day][]store.Row{},
	}
	if in.last.IsZero() {
		in.last = before.gate.Added
	}
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
	if reason != "" {
		in.refused = append(in.refused, visit.Refusal{Seq: rec.Seq, Reason: reason})
		return nil
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
	return in.add(v, p, key)
}

var errTooOld = errors.New("day of visit is destroyed")

// place returns where a visit is put in time and the key of that day; errTooOld if the day is destroyed.
func (in *intake) place(v visit.Visit) (placement, *rowcipher.Key, error) {
	p, ok := place(v, in.last, in.received)
	if !ok {
		if err := in.s.reallyTooOld(day.Of(v.At)); err != nil {
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

// add seals a visit into a row of its day.
func (in *intake) add(v visit.Visit, p placement, key *rowcipher.Key) error {
	row, err := key.Seal(in.name.facility, in.name.gate, p.at, v)
	if err != nil {
		return err
	}
	d := day.Of(p.at)
	in.days[d] = append(in.days[d], row)
	if !p.moved && p.at.After(in.last) && !p.at.After(in.received) { // an issuer's word alone says nothing of other visits
		in.last = p.at
	}
	return nil
}

// store makes the rows durable and returns how many of them were new.
func (in *intake) store(ctx context.Context) (fresh int, err error) {
	for d, rows := range in.days {
		n, err := in.s.store.Put(ctx, in.name.facility, d, rows)
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

// gateRow returns the gate's row after the segment.
func (in *intake) gateRow(before gateRow) gateRow {
	after := before
	after.Received = in.received
	if in.last.After(before.Placed) {
		after.Placed = in.last
	}
	return after
}

func (in *intake) open(seg visit.Segment, rec visit.Sealed) (visit.Visit, string) {
	if !rec.WellFormed() {
		return visit.Visit{}, refuseMalformed
	}
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
		if errors.Is(err, daykey.ErrNoKey) || errors.Is(err, daykey.ErrDamaged) {
			continue // without its key a day holds nothing that can be recognised
		}
		if err != nil {
			return false, err
		}
		blind := key.Blind(v.Issuer, v.CTI)
		for _, r := range in.days[d] {
			if r.Blind == blind {
				return true, nil
			}
		}
		held, err := in.s.store.Holds(ctx, in.name.facility, d, blind)
		if err != nil || held {
			return held, err
		}
	}
	return false, nil
}
