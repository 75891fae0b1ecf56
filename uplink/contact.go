package uplink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kipass/kipass/protocol/wire"
)

// beat sends a heartbeat if one is due, and returns how long there is none to send.
func (d *drain) beat(ctx context.Context) time.Duration {
	if wait := d.schedule.wait(func() []string { return d.heartbeat().Faults }); wait > 0 {
		return wait
	}
	h := d.heartbeat()
	r, err := d.server.SendHeartbeat(ctx, h)
	if ctx.Err() != nil {
		return 0
	}
	if err == nil {
		if e := r.AnswersHeartbeat(h); e != nil {
			err = fmt.Errorf("%w: %w", ErrNotServer, e)
		}
	}
	switch {
	case err == nil:
		d.reached(r)
		d.schedule.sent(d.draw(), h.Faults)
		d.beating.succeed()
		if r.Resend != nil {
			d.resend(*r.Resend, true)
		}
	case tooLarge(err) || hasCode(err, wire.CodeInternal): // the server does not take heartbeats; it may take visits
		d.status.heard(answered(err))
		d.beating.fail(err)
		d.schedule.hold.extend(d.beating.next(d.draw()))
	default:
		d.unreached(err)
	}
	return 0
}

// reached takes from a receipt what is not about records: the server lives, and says how often it wants to be spoken to.
func (d *drain) reached(r wire.Receipt) {
	d.reaching.succeed()
	d.onRevoked(false)
	d.status.heard(true)
	d.status.change(func(st *Status, errs *[concerns]string) {
		st.Revoked, st.Unknown, errs[concernServer] = false, false, ""
	})
	d.batching.obey(r.Gather)
	d.schedule.obey(r.Heartbeat)
	if d.pacing.left() <= 0 { // heartbeats sent while waiting must not prolong the wait
		d.pacing.extend(min(milliseconds(r.Wait), maxWait))
	}
	d.onReceipt(r)
}

// unreached backs off from the server. Retry-After is obeyed and spread upwards; a terminal that is revoked or unknown keeps
// trying, slowly.
func (d *drain) unreached(err error) {
	text := d.reaching.fail(err)
	wait := d.reaching.next(d.draw())
	var no *refusal
	if errors.As(err, &no) && no.after > 0 {
		wait = no.after + min(wait, no.after/2)
	}
	revoked, unknown := hasCode(err, wire.CodeRevoked), hasCode(err, wire.CodeUnknown)
	if revoked || unknown {
		wait = maxDelay/2 + time.Duration(d.draw()*float64(maxDelay/2))
	}
	if revoked {
		d.onRevoked(true)
	}
	if unknown {
		unknown = d.onUnknown()
	}
	if hasCode(err, wire.CodeUnauthenticated) {
		d.onExpired()
	}
	d.status.heard(answered(err))
	d.status.change(func(st *Status, errs *[concerns]string) {
		st.Revoked = st.Revoked || revoked
		st.Unknown = st.Unknown || unknown
		errs[concernServer] = text
	})
	d.rest.extend(wait)
}

func slow(err error) bool { return errors.Is(err, errSlow) }
