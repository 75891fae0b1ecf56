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

func (d *doubts) flags(ctx context.Context, row store.Row, r rowcipher.Record) (f order.Flags, err error) {
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
	if r.Apart {
		f |= order.TwoPlaces
	}
	return f, nil
}

// elsewhere flags the scans of a day whose code is recorded at another facility too.
func (d *doubts) elsewhere(ctx context.Context, on day.Day, keys []*rowcipher.Key, scans []order.Scan) error {
	codes := make([]store.Blind, len(scans))
	for _, key := range keys {
		for i, s := range scans {
			codes[i] = key.Blind(s.Issuer, s.CTI)
		}
		found, err := d.s.store.Elsewhere(ctx, d.facility, on, codes)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			continue
		}
		for i, s := range scans {
			if found[key.Blind(s.Issuer, s.CTI)] {
				scans[i].Flags |= order.TwoPlaces
			}
		}
	}
	return nil
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
