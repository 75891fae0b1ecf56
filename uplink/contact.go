package uplink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kipass/kipass/protocol/wire"
)

const (
	periodDefault = 5 * time.Minute // between heartbeats
	periodLongest = time.Hour
	periodFaults  = time.Minute     // at most, while the gate has faults
	startSpread   = 2 * time.Second // a street's gates get their power back together
)

// pulse knows when a heartbeat is due. It belongs to the drain's goroutine.
type pulse struct {
	content  func() wire.Heartbeat
	period   time.Duration
	last     time.Time // begin of the period
	jitter   float64   // 0.9 to 1.1, drawn for each period
	hold     time.Time // not before
	retry    backoff
	failures failures
}

// start lets the first heartbeat be due within startSpread.
func (p *pulse) start(draw float64) {
	p.period, p.jitter = periodDefault, 1
	p.last = time.Now().Add(time.Duration(draw*float64(startSpread)) - p.period)
}

// in returns how long there is no heartbeat to send; 0 or less means that one is due. With faults it is due earlier.
func (p *pulse) in() time.Duration {
	scale := func(d time.Duration) time.Duration { return time.Duration(p.jitter * float64(d)) }
	hold := time.Until(p.hold)
	due := time.Until(p.last.Add(scale(p.period)))
	look := scale(min(p.period, periodFaults))
	early := time.Until(p.last.Add(look))
	switch {
	case due <= 0:
		return hold
	case early > 0:
		return max(early, hold)
	case len(p.content().Faults) > 0:
		return hold
	default:
		return max(min(due, look), hold)
	}
}

// done begins the next period.
func (p *pulse) done(draw float64) {
	p.last, p.jitter = time.Now(), 0.9+0.2*draw
	p.retry.reset()
	p.failures.succeed()
}

func (d *drain) sendBeat(ctx context.Context) {
	r, err := d.server.Beat(ctx, d.beat.content())
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		if e := r.AnswersHeartbeat(); e != nil {
			err = fmt.Errorf("%w: %w", ErrNotServer, e)
		}
	}
	switch {
	case err == nil:
		d.reached(r)
		d.beat.done(d.draw())
	case tooLarge(err) || is(err, wire.CodeInternal): // the server does not take heartbeats; it may take visits
		d.status.heard(answered(err))
		d.beat.failures.fail(err)
		d.later(&d.beat.hold, d.beat.retry.next(d.draw()))
	default:
		d.unreached(err)
	}
}

// reached takes from a receipt what is not about records: the server lives, and says how it wants to be spoken to.
func (d *drain) reached(r wire.Receipt) {
	d.network.reset()
	d.delivering.succeed()
	d.onRevoked(false)
	d.status.heard(true)
	d.status.change(func(st *Status, errs *[concerns]string) {
		st.Revoked, errs[concernServer] = false, ""
	})
	d.gather = gatherDefault
	if r.Gather > 0 {
		d.gather = min(milliseconds(r.Gather), wire.MaxGather)
	}
	d.beat.period = periodDefault
	if r.Heartbeat > 0 {
		d.beat.period = min(time.Duration(r.Heartbeat)*time.Second, periodLongest)
	}
	if time.Until(d.holdBatch) <= 0 { // heartbeats sent while waiting must not prolong the wait
		d.later(&d.holdBatch, min(milliseconds(r.Wait), maxWait))
	}
	d.onReceipt(r)
}

func milliseconds(n uint32) time.Duration { return time.Duration(n) * time.Millisecond }

// unreached backs off from the server. Retry-After is obeyed and spread upwards; a revoked terminal keeps trying, slowly.
func (d *drain) unreached(err error) {
	text := d.delivering.fail(err)
	wait := d.network.next(d.draw())
	var no *refusal
	if errors.As(err, &no) && no.after > 0 {
		wait = no.after + min(wait, no.after/2)
	}
	revoked := is(err, wire.CodeRevoked)
	if revoked {
		wait = longestDelay/2 + time.Duration(d.draw()*float64(longestDelay/2))
		d.onRevoked(true)
	}
	d.status.heard(answered(err))
	d.status.change(func(st *Status, errs *[concerns]string) {
		st.Revoked = st.Revoked || revoked
		errs[concernServer] = text
	})
	d.later(&d.hold, wait)
}

func slow(err error) bool { return errors.Is(err, errSlow) }
