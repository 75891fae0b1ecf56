package visitserver

import (
	"context"
	"errors"
	"time"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/rowcipher"
	"github.com/kipass/kipass/visitserver/store"
)

// maxApart is how far apart two gates may record one code at one facility: its life and the widest allowance of two
// clocks. Records that lie further apart are not of one showing, and one of them is not true; which, the issuer's time of
// issue tells. So both are kept.
const maxApart = day.CodeLifetime + 2*day.MaxSkew

// together reports whether two records of one code at one facility are of one showing.
func together(a, b visit.Visit) bool { return a.At.Sub(b.At).Abs() <= maxApart }

// pending is a record that is to be stored on a day.
type pending struct {
	rowcipher.Record
	key *rowcipher.Key
	at  time.Time // where it is placed
}

func (p pending) seal(t terminalName) (store.Row, error) {
	return p.key.Seal(t.facility, t.gate, p.at, p.Record)
}

// recordUnder returns the record of the facility under a blind index on a day.
func (s *Server) recordUnder(ctx context.Context, f visit.Facility, d day.Day, b store.Blind) (r rowcipher.Record, ok bool, err error) {
	keys, err := s.keys.Keys(d)
	if err != nil {
		return rowcipher.Record{}, false, err
	}
	row, stored, err := s.store.Lookup(ctx, f, d, b)
	if err != nil || !stored {
		return rowcipher.Record{}, false, err
	}
	r, err = openRow(keys, f, row)
	return r, err == nil, err
}

// separate makes rows of the records that the facility already had at another time: the rows of one visit meet, those of
// two do not.
func (in *intake) separate(ctx context.Context, d day.Day, records []pending) (rows []store.Row, err error) {
	for _, p := range records {
		first, ok, err := in.s.recordUnder(ctx, in.name.facility, d, p.key.Blind(p.Issuer, p.CTI))
		if errors.Is(err, rowcipher.ErrDamaged) {
			continue // a row that does not open says nothing of another
		}
		if err != nil {
			return nil, err
		}
		if !ok || together(first.Visit, p.Visit) {
			continue
		}
		p.Apart = true
		row, err := p.seal(in.name)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// heldElsewhere reports whether a visit is already stored on another day than the one it is placed on: a code read on
// both sides of midnight, or a record whose time was moved and that comes again later.
func (in *intake) heldElsewhere(ctx context.Context, v visit.Visit, p placement) (bool, error) {
	on := day.Of(p.at)
	from, to := day.Of(p.at.Add(-maxApart)), day.Of(p.at.Add(maxApart))
	if p.moved {
		from, to = day.OldestKept(in.received), day.Of(in.received.Add(maxFuture))
	}
	for d := from; d <= to; d++ {
		if d == on {
			continue
		}
		held, err := in.holds(ctx, d, v)
		if err != nil || held {
			return held, err
		}
	}
	return false, nil
}

// holds reports whether a day of the facility has this visit, stored or about to be.
func (in *intake) holds(ctx context.Context, d day.Day, v visit.Visit) (bool, error) {
	for _, p := range in.days[d] {
		if p.Issuer == v.Issuer && p.CTI == v.CTI && together(p.Visit, v) {
			return true, nil
		}
	}
	key, err := in.s.keys.Key(d)
	if errors.Is(err, daykey.ErrNoKey) || errors.Is(err, daykey.ErrDamaged) {
		return false, nil // without its key a day holds nothing that can be recognised
	}
	if err != nil {
		return false, err
	}
	for _, blind := range []store.Blind{key.Blind(v.Issuer, v.CTI), key.BlindApart(v)} {
		r, ok, err := in.s.recordUnder(ctx, in.name.facility, d, blind)
		if err != nil && !errors.Is(err, rowcipher.ErrDamaged) {
			return false, err
		}
		if ok && together(r.Visit, v) {
			return true, nil
		}
	}
	return false, nil
}
