package uplink

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/kipass/kipass/protocol/wire"
)

const (
	renewCheck = time.Hour // the wall clock may be set: due dates are looked at this often
	maxEarly   = time.Hour // a certificate that begins later than that from now was made by a clock that was ahead, and is renewed
)

// keepRenewed renews the certificate when two thirds of its life are over, or if its time has not come. The renewed identity is durable before it is
// tried, and replaces the one in use only after the server has answered to it; until then, and after a crash anywhere in
// between, the old one works.
func (u *Uplink) keepRenewed(ctx context.Context) {
	retry := newRetry(u.opts.Logger, "renewing the certificate")
	retry.first, retry.longest = time.Minute, time.Hour
	for {
		wait, err := u.renewStep(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			// Whatever else fails is told of the server or the certificate's end; this needs a person.
			if text := retry.fail(err); hasCode(err, wire.CodeSuperseded) {
				u.status.say(concernRenewal, text)
			}
			wait = retry.next(u.opts.Network.Draw())
		} else {
			retry.succeed()
			u.status.say(concernRenewal, "")
		}
		if !pause(ctx, nil, wait) {
			return
		}
	}
}

// renewStep proves a renewed identity, or asks for one when it is time, and returns how long there is nothing to do.
func (u *Uplink) renewStep(ctx context.Context) (time.Duration, error) {
	if c := u.opts.Identity.unproven(); c != nil {
		return 0, u.prove(ctx, c)
	}
	leaf := u.opts.Identity.certificate().Leaf
	now, known := u.opts.Time()
	if due := renewIn(leaf, now, known); due > 0 {
		return min(due, renewCheck), nil
	}
	err := u.renew(ctx)
	if err != nil && known && now.After(leaf.NotAfter) {
		err = fmt.Errorf("the certificate expired at %s: %w", leaf.NotAfter.Format(time.RFC3339), err)
		u.lapsed.raise()
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
	return id.store(fileRenewed, key, e.Certificate)
}

// prove sends a heartbeat under the renewed identity and takes it into use when the server answers.
func (u *Uplink) prove(ctx context.Context, c *tls.Certificate) error {
	trial := newClient(u.opts, func() *tls.Certificate { return c }, u.dated)
	defer trial.close()
	h := u.opts.Heartbeat()
	r, err := trial.SendHeartbeat(ctx, h)
	if err == nil {
		err = r.AnswersHeartbeat(h)
	}
	if rejectedByTLS(err) {
		if e := u.opts.Identity.discard(); e != nil {
			return e
		}
		return fmt.Errorf("renewed certificate is not taken and was discarded: %w", err)
	}
	if err != nil {
		return fmt.Errorf("trying the renewed certificate: %w", err)
	}
	if err := u.opts.Identity.adopt(); err != nil {
		return err
	}
	u.client.close()
	u.opts.Logger.Info("certificate renewed", "until", c.Leaf.NotAfter)
	return nil
}
