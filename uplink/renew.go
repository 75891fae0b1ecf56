package uplink

import (
	"context"
	"fmt"
	"time"

	"github.com/kipass/kipass/protocol/wire"
)

const (
	renewCheck = time.Hour // the wall clock may be set: due dates are looked at this often
	maxEarly   = time.Hour // a certificate that begins later than that from now was made by a clock that was ahead, and is renewed
)

// keepRenewed renews the certificate when two thirds of its life are over, if its time has not come, or if the server says
// that it has run out, which is right whatever the gate's clock says. The renewed identity is used at once; the one before
// stays, for a server that does not know the renewed one.
func (u *Uplink) keepRenewed(ctx context.Context) {
	retry := newRetry(u.opts.Logger, "renewing the certificate")
	retry.first, retry.longest = time.Minute, time.Hour
	due := false
	for {
		wait, err := u.renewStep(ctx, due)
		if ctx.Err() != nil {
			return
		}
		var runsOut <-chan struct{} = u.runOut
		if err != nil {
			// Whatever else fails is told of the server or the certificate's end; this needs a person.
			if text := retry.fail(err); hasCode(err, wire.CodeSuperseded) {
				u.status.say(concernRenewal, text)
			}
			wait = retry.next(u.opts.Network.Draw())
			if answered(err) { // the server says the same again
				runsOut = nil
			}
		} else {
			retry.succeed()
			u.status.say(concernRenewal, "")
		}
		due = !pause(ctx, runsOut, wait)
		if ctx.Err() != nil {
			return
		}
	}
}

// renewStep asks for another certificate when it is time, or due already, and returns how long there is nothing to do.
func (u *Uplink) renewStep(ctx context.Context, due bool) (time.Duration, error) {
	leaf := u.opts.Identity.certificate().Leaf
	now, known := u.opts.Time()
	if left := renewIn(leaf, now, known); left > 0 && !due {
		return min(left, renewCheck), nil
	}
	err := u.renew(ctx)
	if err == nil || ctx.Err() != nil {
		return 0, err
	}
	switch ended := known && now.After(leaf.NotAfter); {
	case hasCode(err, wire.CodeRevoked):
		u.revoked(true)
		u.status.change(func(s *Status, _ *[concerns]string) { s.Revoked = true })
	case hasCode(err, wire.CodeUnknown), hasCode(err, wire.CodeUnauthenticated):
		if u.unknown() {
			u.status.change(func(s *Status, _ *[concerns]string) { s.Unknown = true })
		}
	case ended:
		err = fmt.Errorf("the certificate expired at %s: %w", leaf.NotAfter.Format(time.RFC3339), err)
		if hasCode(err, wire.CodeSuperseded) {
			u.lapsed.raise()
		}
	}
	return 0, err
}

func (u *Uplink) renew(ctx context.Context) error {
	u.enrolling.Lock()
	defer u.enrolling.Unlock()
	id := u.opts.Identity
	key, err := id.pendingKey()
	if err != nil {
		return err
	}
	csr, err := request(key)
	if err != nil {
		return err
	}
	e, err := u.client.renew(ctx, wire.RenewRequest{CSR: csr})
	if err != nil {
		return err
	}
	if err := checkIssued(e.Certificate, key, u.opts.Facility, u.opts.Gate); err != nil {
		return err
	}
	if err := id.renew(key, e.Certificate); err != nil {
		return err
	}
	u.fellBack.Store(false)
	u.another()
	u.opts.Logger.Info("certificate renewed", "until", id.certificate().Leaf.NotAfter)
	return nil
}
