package uplink

import (
	"fmt"

	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

const (
	maxAlone = 3 // times a record is refused alone until it is put aside
	maxAside = 3 // records put aside in a row: a server that takes none is at fault itself
)

// refusedAlone is what is known of records that the server refuses, as a request, even when each is sent alone. It begins
// anew with every batch that is taken.
type refusedAlone struct {
	seq   uint64 // the record
	times int
	aside int // records put aside so far
}

// again takes note of another refusal of a record and reports whether it is to be put aside.
func (r *refusedAlone) again(seq uint64) bool {
	if seq != r.seq {
		r.seq, r.times = seq, 0
	}
	r.times++
	return r.times >= maxAlone && r.aside < maxAside
}

// putAside moves the oldest record, which the server refuses with err whenever it comes, to the journal's quarantine, so
// that it holds up none behind it.
func (d *drain) putAside(s visit.Segment, err error) {
	reason := wire.CodeTooLarge
	if hasCode(err, wire.CodeBadRequest) {
		reason = wire.CodeBadRequest
	}
	seq := s.Records[0].Seq
	d.oldest.fail(fmt.Errorf("record %d is put aside: %w", seq, err))
	d.refused.aside++
	d.aside = seq
	d.status.change(func(st *Status, errs *[concerns]string) { st.Blocked, errs[concernBlocked] = 0, "" })
	d.unsettled = &visit.Settlement{Journal: s.Journal, Through: seq, Refused: []visit.Refusal{{Seq: seq, Reason: reason}}}
	d.settle()
}
