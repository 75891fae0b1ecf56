package uplink

import (
	"context"
	"fmt"
	"time"

	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// lacks reports whether a receipt shows a newer trust list or another sealing key than the gate holds.
func (u *Uplink) lacks(r wire.Receipt) bool {
	trust, seal := u.opts.Provision.Holding()
	return r.Trust > trust || r.SealKey != (visit.SealKeyID{}) && r.SealKey != seal
}

// outlived reports whether the server meant to have replaced the sealing key by now. The gate goes on sealing to it until it
// has another.
func (u *Uplink) outlived() bool {
	p, ok := u.opts.Identity.Provision()
	now, _ := u.opts.Time()
	return ok && now.UnixMilli() >= p.Until
}

// trust returns the version of the trust list that the gate goes by.
func (u *Uplink) trust() uint64 {
	version, _ := u.opts.Provision.Holding()
	return version
}

// offer hands a receipt to keepProvisioned without ever waiting for it; only the newest counts.
func (u *Uplink) offer(r wire.Receipt) {
	if !u.lacks(r) {
		return
	}
	select {
	case <-u.receipts:
	default:
	}
	select {
	case u.receipts <- r:
	default:
	}
}

// keepProvisioned fetches what the gate lacks, in the background, with back-off until the gate has it. A sealing key whose
// time is over is asked after every hour, whatever receipts say.
func (u *Uplink) keepProvisioned(ctx context.Context) {
	retry := newRetry(u.opts.Logger, "refreshing trust list and sealing key")
	var newest wire.Receipt
	var next time.Time // not before
	for {
		timer := time.NewTimer(renewCheck)
		if u.lacks(newest) {
			timer.Reset(max(0, time.Until(next)))
		}
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case newest = <-u.receipts:
			timer.Stop()
			continue
		case <-timer.C:
		}
		if !u.lacks(newest) && !u.outlived() {
			continue
		}
		err := u.refresh(ctx, newest)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			u.status.say(concernProvision, retry.fail(err))
			next = time.Now().Add(retry.next(u.opts.Network.Draw()))
			continue
		}
		retry.succeed()
		u.status.say(concernProvision, "")
		u.opts.Logger.Info("trust list and sealing key refreshed", "trust", newest.Trust)
		newest = wire.Receipt{} // what it showed is fetched
	}
}

func (u *Uplink) refresh(ctx context.Context, wanted wire.Receipt) error {
	p, err := u.client.provision(ctx)
	if err != nil {
		return err
	}
	if err := checkProvision(p); err != nil {
		return err
	}
	if err := u.accept(p); err != nil {
		return err
	}
	if u.trust() < wanted.Trust { // a sealing key may have been replaced since
		return fmt.Errorf("the server promises trust list %d but serves another", wanted.Trust)
	}
	return nil
}

// accept gives a provision to the gate and, once it is taken, keeps it for the next start.
func (u *Uplink) accept(p wire.Provision) error {
	if err := u.opts.Provision.Provision(p); err != nil {
		return fmt.Errorf("the gate refuses the provision: %w", err)
	}
	return u.opts.Identity.keepProvision(p)
}
