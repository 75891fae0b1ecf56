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
	// Resend makes settled records after a sequence undelivered again, durably, as far as they are kept, and returns how
	// many.
	Resend(id visit.JournalID, after uint64) (uint64, error)
	// Oldest returns the sequence of the oldest record that Resend or Peek can still give.
	Oldest() uint64
	// Wait returns a channel that delivers or is closed once a record was appended after the call, at the latest.
	Wait() <-chan struct{}
}

// sender is the server as the drain sees it.
type sender interface {
	SendBatch(ctx context.Context, b wire.Batch) (wire.Receipt, error)
	SendHeartbeat(ctx context.Context, h wire.Heartbeat) (wire.Receipt, error)
}

// drainOptions are what a drain works with and reports to.
type drainOptions struct {
	source    Source
	server    sender
	status    *statusBoard
	heartbeat func() wire.Heartbeat // the gate's present state
	trust     func() uint64         // version of the trust list that the gate goes by
	onReceipt func(wire.Receipt)
	onRevoked func(bool)
	onUnknown func() (lost bool) // the server does not know the gate; lost says that it has to be enrolled again
	onExpired func()             // the gate's certificate has run out
	renewed   <-chan struct{}    // the gate has enrolled anew; nil for never
	draw      func() float64     // from 0 to 1, for jitter
	log       *slog.Logger
}

// drain moves records from the journal to the server, one exchange at a time, and sends heartbeats in between. All of
// its state belongs to the goroutine of run. An invariant: nothing is settled as stored but by a receipt that answers what
// was sent.
type drain struct {
	drainOptions

	rest      hold              // nothing is sent
	pacing    hold              // no batch is sent; heartbeats are
	unsettled *visit.Settlement // received, not yet taken by the journal
	refused   refusedAlone
	aside     uint64 // the last record put aside: the server does not take it, so it is not sent again
	batching  batching
	schedule  schedule

	reaching   retry // the server
	journaling retry // reading the journal, and settling with it
	oldest     retry // the delivery of the oldest record, which the server does not take
	resending  retry // while the server asks for what was settled, until it takes a batch
	beating    retry // heartbeats alone, while the server is reached
}

func newDrain(opts drainOptions) *drain {
	return &drain{
		drainOptions: opts,
		batching:     newBatching(),
		schedule:     newSchedule(opts.draw()),
		reaching:     newRetry(opts.log, "delivering to the visit server"),
		journaling:   newRetry(opts.log, "working with the journal"),
		oldest:       newRetry(opts.log, "delivering the oldest record"),
		resending:    newRetry(opts.log, "delivering without a gap"),
		beating:      newRetry(opts.log, "heartbeat"),
	}
}

// phase is what a drain is at.
type phase int

// The phases, in the order in which they are tried: a drain is in the first whose condition holds. Each step ends in
// another look, so a phase lasts as long as its condition.
const (
	resting   phase = iota // nothing may be sent yet: the server is not reached, or has asked for it. Waits
	paced                  // no batch may be sent yet. Sends heartbeats
	settling               // a receipt is not settled yet. Hands it to the journal
	idle                   // the journal holds nothing. Sends heartbeats; a new record ends it
	gathering              // a batch would be small and early. Waits
	sending                // there is a batch to send. Sends it
)

// situation is a phase with what belongs to it.
type situation struct {
	phase   phase
	left    time.Duration // of resting, paced, gathering: how long at most
	segment visit.Segment // of sending
}

// look finds out what the drain is at. The error is of reading the journal.
func (d *drain) look() (situation, error) {
	if left := d.rest.left(); left > 0 {
		return situation{phase: resting, left: left}, nil
	}
	if left := d.pacing.left(); left > 0 {
		return situation{phase: paced, left: left}, nil
	}
	if d.unsettled != nil {
		return situation{phase: settling}, nil
	}
	segment, err := d.source.Peek(d.batching.limit, maxSegment)
	if err != nil {
		return situation{}, fmt.Errorf("reading the journal: %w", err)
	}
	if len(segment.Records) == 0 {
		return situation{phase: idle}, nil
	}
	if left := d.batching.wait(segment); left > 0 {
		return situation{phase: gathering, left: left}, nil
	}
	segment.Records = segment.Records[:min(len(segment.Records), d.batching.limit)]
	return situation{phase: sending, segment: segment}, nil
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
			d.rest.release()
			d.reaching.reset()
		}
	}
}

// step does what the phase asks for, one exchange at most, and returns how long there is nothing to do after it. With
// listen, a new record ends the wait.
func (d *drain) step(ctx context.Context) (wait time.Duration, listen bool) {
	at, err := d.look()
	if err != nil {
		d.journalFailed(err)
		return 0, false
	}
	switch at.phase {
	case resting, gathering:
		return at.left, false
	case paced:
		return min(at.left, d.beat(ctx)), false
	case idle:
		return d.beat(ctx), true
	case settling:
		d.settle()
	case sending:
		d.send(ctx, at.segment)
	}
	return 0, false
}

func (d *drain) send(ctx context.Context, s visit.Segment) {
	d.batching.begin()
	r, err := d.server.SendBatch(ctx, wire.Batch{
		Segment: s, Oldest: min(max(d.source.Oldest(), d.aside+1), s.Records[0].Seq), Trust: d.trust(),
	})
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
	if r.Resend != nil {
		d.resend(*r.Resend, false)
		return
	}
	if r.Settled.Through < s.Records[0].Seq {
		d.oldestFailed(s, fmt.Errorf("the server has stored none of %d records", len(s.Records)))
		return
	}
	d.oldest.succeed()
	d.resending.succeed()
	d.refused = refusedAlone{}
	d.status.change(func(st *Status, errs *[concerns]string) {
		st.alert(r.Alerts)
		st.Blocked, errs[concernBlocked] = 0, ""
	})
	d.batching.grow()
	d.unsettled = &r.Settled
	d.settle()
}

// settle hands the receipt to the journal. While that fails no batch is sent: it would be the same records again.
func (d *drain) settle() {
	if err := d.source.Settle(*d.unsettled); err != nil {
		d.journalFailed(fmt.Errorf("settling through record %d: %w", d.unsettled.Through, err))
		return
	}
	d.unsettled = nil
	d.journaling.succeed()
	d.status.say(concernJournal, "")
}

func (d *drain) journalFailed(err error) {
	d.status.say(concernJournal, d.journaling.fail(err))
	d.pacing.extend(d.journaling.next(d.draw()))
}

// sendFailed decides what a failed batch means for the next.
func (d *drain) sendFailed(err error, s visit.Segment) {
	n := len(s.Records)
	if tooLarge(err) {
		d.status.heard(answered(err))
		if n == 1 && d.refused.again(s.Records[0].Seq) {
			d.putAside(s, err)
			return
		}
		if n == 1 {
			d.oldestFailed(s, err)
			return
		}
		d.batching.shrink(n) // finds the record that the server does not take
		d.oldest.fail(err)
		d.pacing.extend(minDelay)
		return
	}
	if slow(err) {
		d.batching.shrink(n)
	}
	d.unreached(err)
}

// oldestFailed keeps the oldest record, which the server did not take, and tries it again later. Nothing is ever skipped.
func (d *drain) oldestFailed(s visit.Segment, err error) {
	first := s.Records[0].Seq
	text := d.oldest.fail(fmt.Errorf("record %d: %w", first, err))
	d.status.change(func(st *Status, errs *[concerns]string) { st.Blocked, errs[concernBlocked] = first, text })
	d.pacing.extend(d.oldest.next(d.draw()))
}
