package visitserver

import (
	"context"
	"time"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/rowcipher"
	"github.com/kipass/kipass/visitserver/store"
)

// lateAfter is how long after its time a record may be received without being flagged: longer is an outage, or a record
// made up after the fact.
const lateAfter = time.Hour

// doubts finds what an answer has to say of its records.
type doubts struct {
	s        *Server
	facility visit.Facility
	journals map[string]bool // by key in the register: whether it is doubtful
}

func (d *doubts) flags(ctx context.Context, on day.Day, keys []*rowcipher.Key, row store.Row, r rowcipher.Record) (f order.Flags, err error) {
	if r.Received.Sub(row.At) > lateAfter {
		f |= order.Late
	}
	doubtful, err := d.journal(ctx, journalKey(terminalName{d.facility, row.Gate}, r.Journal))
	if err != nil {
		return 0, err
	}
	if doubtful {
		f |= order.NewJournal
	}
	twoPlaces := r.Apart
	for _, key := range keys {
		found, err := d.s.store.Find(ctx, on, key.Blind(r.Issuer, r.CTI))
		if err != nil {
			return 0, err
		}
		for _, at := range found {
			twoPlaces = twoPlaces || at.Facility != d.facility
		}
	}
	if twoPlaces {
		f |= order.TwoPlaces
	}
	return f, nil
}

func (d *doubts) journal(ctx context.Context, key string) (doubtful bool, err error) {
	if doubtful, ok := d.journals[key]; ok {
		return doubtful, nil
	}
	raw, err := optional(d.s.store.Get(ctx, tableJournal, key))
	if err != nil {
		return false, err
	}
	var j JournalRow
	if err := j.decode(raw); err != nil {
		j = JournalRow{} // a damaged row is begun anew with the next batch
	}
	d.journals[key] = j.Doubtful
	return j.Doubtful, nil
}
