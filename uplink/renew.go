package uplink

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/kipass/kipass/protocol/wire"
)

const renewLook = time.Hour // the wall clock may be set: due dates are looked at this often

// keepRenewed renews the certificate when two thirds of its life are over. The renewed identity is durable before it is
// tried, and replaces the one in use only after the server has answered to it; until then, and after a crash anywhere in
// between, the old one works.
func (u *Uplink) keepRenewed(ctx context.Context) {
	retry := backoff{first: time.Minute, longest: time.Hour}
	log := failures{log: u.o.Log, what: "renewing the certificate"}
	for {
		wait, err := u.renewStep(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			log.fail(err)
			wait = retry.next(u.draw())
		} else {
			log.succeed()
			retry.reset()
		}
		if !pause(ctx, nil, wait) {
			return
		}
	}
}

// renewStep proves a renewed identity, or asks for one when it is time, and returns how long there is nothing to do.
func (u *Uplink) renewStep(ctx context.Context) (time.Duration, error) {
	if c := u.o.Identity.unproven(); c != nil {
		return 0, u.prove(ctx, c)
	}
	leaf, now := u.o.Identity.certificate().Leaf, u.now()
	if due := renewAt(leaf).Sub(now); due > 0 {
		return min(due, renewLook), nil
	}
	err := u.renew(ctx)
	if err != nil && now.After(leaf.NotAfter) {
		err = fmt.Errorf("the certificate expired at %s: %w", leaf.NotAfter.Format(time.RFC3339), err)
		u.lapse()
	}
	return 0, err
}

func (u *Uplink) renew(ctx context.Context) error {
	u.enrolling.Lock()
	defer u.enrolling.Unlock()
	id := u.o.Identity
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
	if err := checkIssued(e.Certificate, key, u.o.Facility, u.o.Gate); err != nil {
		return err
	}
	return id.store(fileRenewed, key, e.Certificate)
}

// prove sends a heartbeat under the renewed identity and takes it into use when the server answers.
func (u *Uplink) prove(ctx context.Context, c *tls.Certificate) error {
	trial := newClient(u.o, func() *tls.Certificate { return c }, u.now, nil)
	defer trial.close()
	r, err := trial.Beat(ctx, u.o.Heartbeat())
	if err == nil {
		err = r.AnswersHeartbeat()
	}
	if rejectedByTLS(err) {
		if e := u.o.Identity.discard(); e != nil {
			return e
		}
		return fmt.Errorf("renewed certificate is not taken and was discarded: %w", err)
	}
	if err != nil {
		return fmt.Errorf("trying the renewed certificate: %w", err)
	}
	if err := u.o.Identity.adopt(); err != nil {
		return err
	}
	u.client.close()
	u.o.Log.Info("certificate renewed", "until", c.Leaf.NotAfter)
	return nil
}
