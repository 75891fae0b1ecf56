package uplink

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// Source is the journal as the uplink sees it.
type Source interface {
	// Peek returns the oldest undelivered records, at most maxRecords and about maxBytes when encoded, but at least one
	// if there is any; it removes nothing.
	Peek(maxRecords, maxBytes int) (visit.Segment, error)
	// Settle takes note, durably, of what has become of records. The same settlement may come again.
	Settle(visit.Settlement) error
	// Wait returns a channel that delivers or is closed once a record was appended after the call, at the latest.
	Wait() <-chan struct{}
}

// sender is the server as the drain sees it.
type sender interface {
	Send(ctx context.Context, b wire.Batch) (wire.Receipt, error)
	Beat(ctx context.Context, h wire.Heartbeat) (wire.Receipt, error)
}

const (
	firstDelay    = time.Second     // ceiling of the first back-off
	longestDelay  = 5 * time.Minute // ceiling of any back-off
	gatherDefault = time.Second
	segmentBytes  = wire.MaxBatch - 64 // of a segment, so that its batch stays within the limit
)

// drain moves records from the journal to the server, one exchange at a time, and sends heartbeats in between. All of
// its state belongs to the goroutine of run. An invariant: nothing is settled but by a receipt that answers what was sent.
type drain struct {
	source    Source
	server    sender
	status    *statusBoard
	onReceipt func(wire.Receipt)
	onRevoked func(bool)
	renewed   <-chan struct{} // the gate has enrolled anew; nil for never
	draw      func() float64  // from 0 to 1, for jitter

	owed      *visit.Settlement // received, not yet taken by the journal
	limit     int               // records in the next batch
	hold      time.Time         // nothing is sent before
	holdBatch time.Time         // no batch is sent before; heartbeats are
	sent      time.Time         // begin of the last batch
	gather    time.Duration

	network, journal, blocked          backoff
	delivering, journalling, insisting failures
	beat                               pulse
}

func newDrain(d drain, log *slog.Logger) *drain {
	b := backoff{first: firstDelay, longest: longestDelay}
	d.network, d.journal, d.blocked, d.beat.retry = b, b, b, b
	d.delivering = failures{log: log, what: "delivering to the visit server"}
	d.journalling = failures{log: log, what: "working with the journal"}
	d.insisting = failures{log: log, what: "delivering the oldest record"}
	d.beat.failures = failures{log: log, what: "heartbeat"}
	d.limit, d.gather = wire.MaxRecords, gatherDefault
	d.beat.start(d.draw())
	return &d
}

// run returns when ctx ends.
func (d *drain) run(ctx context.Context) {
	for {
		signal := d.source.Wait() // before Peek, so that no append is missed
		wait, listen := d.step(ctx)
		if !listen {
			signal = nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-signal:
			timer.Stop()
		case <-d.renewed: // what the server said to the old certificate no longer holds
			timer.Stop()
			d.hold = time.Time{}
			d.network.reset()
		}
	}
}

// step does the next thing, one exchange at most, and returns how long there is nothing to do; with listen, a new
// record ends the wait.
func (d *drain) step(ctx context.Context) (wait time.Duration, listen bool) {
	if w := time.Until(d.hold); w > 0 {
		return w, false
	}
	if w := time.Until(d.holdBatch); w > 0 {
		beat := d.beat.in()
		if beat <= 0 {
			d.sendBeat(ctx)
			return 0, false
		}
		return min(w, beat), false
	}
	if d.owed != nil {
		d.settle()
		return 0, false
	}
	seg, err := d.source.Peek(d.limit, segmentBytes)
	if err != nil {
		d.journalFailed(fmt.Errorf("reading the journal: %w", err))
		return 0, false
	}
	n := len(seg.Records)
	if n == 0 {
		beat := d.beat.in()
		if beat <= 0 {
			d.sendBeat(ctx)
			return 0, false
		}
		return beat, true
	}
	if n > d.limit {
		seg.Records = seg.Records[:d.limit]
	}
	if !d.full(seg) {
		// Looked at again now and then: a batch that fills up is sent at once.
		if w := time.Until(d.sent.Add(d.gather)); w > 0 {
			return min(w, max(d.gather/8, shortest)), false
		}
	}
	d.send(ctx, seg)
	return 0, false
}

// full reports whether gathering longer could not make the batch much larger.
func (d *drain) full(s visit.Segment) bool {
	if len(s.Records) >= d.limit {
		return true
	}
	size := len(s.Epochs) * (visit.EncSize + 32)
	for _, r := range s.Records {
		size += len(r.Data) + 12
	}
	return size > segmentBytes*3/4
}

func (d *drain) send(ctx context.Context, s visit.Segment) {
	d.sent = time.Now()
	r, err := d.server.Send(ctx, wire.Batch{Segment: s})
	if ctx.Err() != nil {
		return // whatever was stored is sent again and is no second visit
	}
	if err == nil {
		if e := r.Answers(s); e != nil {
			err = fmt.Errorf("%w: %w", ErrNotServer, e)
		}
	}
	if err != nil {
		d.sendFailed(err, s)
		return
	}
	d.reached(r)
	if r.Settled.Through < s.Records[0].Seq {
		d.insist(s, fmt.Errorf("the server has stored none of %d records", len(s.Records)))
		return
	}
	d.blocked.reset()
	d.insisting.succeed()
	d.status.change(func(st *Status, errs *[concerns]string) {
		st.alert(r.Alerts)
		st.Blocked, errs[concernBlocked] = 0, ""
	})
	d.limit = min(2*d.limit, wire.MaxRecords)
	d.owed = &r.Settled
	d.settle()
}

// settle hands the receipt to the journal. While that fails no batch is sent: it would be the same records again.
func (d *drain) settle() {
	if err := d.source.Settle(*d.owed); err != nil {
		d.journalFailed(fmt.Errorf("settling through record %d: %w", d.owed.Through, err))
		return
	}
	d.owed = nil
	d.journal.reset()
	d.journalling.succeed()
	d.status.say(concernJournal, "")
}

func (d *drain) journalFailed(err error) {
	d.status.say(concernJournal, d.journalling.fail(err))
	d.later(&d.holdBatch, d.journal.next(d.draw()))
}

// sendFailed decides what a failed batch means for the next.
func (d *drain) sendFailed(err error, s visit.Segment) {
	n := len(s.Records)
	if tooLarge(err) {
		d.status.heard(answered(err))
		if n > 1 { // find the record it does not like
			d.limit = n / 2
			d.insisting.fail(err)
			d.later(&d.holdBatch, shortest)
			return
		}
		d.insist(s, err)
		return
	}
	if slow(err) {
		d.limit = max(1, n/2) // a slow link gets less at a time
	}
	d.unreached(err)
}

// insist keeps the oldest record, which the server did not take, and tries it again later. Nothing is ever skipped.
func (d *drain) insist(s visit.Segment, err error) {
	first := s.Records[0].Seq
	text := d.insisting.fail(fmt.Errorf("record %d: %w", first, err))
	d.status.change(func(st *Status, errs *[concerns]string) { st.Blocked, errs[concernBlocked] = first, text })
	d.later(&d.holdBatch, d.blocked.next(d.draw()))
}

// later moves a time before which something is not done; it never brings it forward.
func (d *drain) later(t *time.Time, wait time.Duration) {
	if at := time.Now().Add(wait); at.After(*t) {
		*t = at
	}
}
