package uplink

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kipass/kipass/protocol/wire"
)

// Enrol trades the one-time code for a terminal certificate, keeps it durably and lets the gate take the provision that
// came with it. The key is made on the device and durable before the request: when the answer is lost, the same code can
// be used again from this device. It may be called while Run runs, with a code a technician has typed.
func (u *Uplink) Enrol(ctx context.Context, code string) (wire.Enrolment, error) {
	u.enrolling.Lock()
	defer u.enrolling.Unlock()
	id := u.opts.Identity
	key, err := id.pendingKey()
	if err != nil {
		return wire.Enrolment{}, err
	}
	csr, err := request(key)
	if err != nil {
		return wire.Enrolment{}, err
	}
	e, err := u.client.enrol(ctx, wire.EnrolRequest{Code: code, CSR: csr})
	if err != nil {
		var no *refusal
		if errors.As(err, &no) && no.problem != nil {
			no.problem.Detail = strings.ReplaceAll(no.problem.Detail, code, "(code)")
		}
		return wire.Enrolment{}, fmt.Errorf("enrolling: %w", err)
	}
	if err := checkIssued(e.Certificate, key, u.opts.Facility, u.opts.Gate); err != nil {
		return wire.Enrolment{}, fmt.Errorf("enrolling: %w", err)
	}
	if err := checkProvision(e.Provision); err != nil {
		return wire.Enrolment{}, fmt.Errorf("enrolling: %w", err)
	}
	if err := id.enrol(key, e.Certificate); err != nil {
		return wire.Enrolment{}, fmt.Errorf("enrolling: %w", err)
	}
	// Before the provision, with which visitors can be served: a gate that can and is not enrolled has lost its certificate.
	u.status.change(func(s *Status, errs *[concerns]string) { s.Enrolled, errs[concernIdentity] = true, "" })
	if err := u.accept(e.Provision); err != nil {
		u.status.say(concernProvision, err.Error())
		u.opts.Logger.Warn("provision that came with the enrolment; it is fetched again", "error", err)
	}
	u.revoked(false)
	u.status.change(func(s *Status, _ *[concerns]string) { s.Revoked, s.Unknown = false, false })
	u.setEnrolled()
	u.another()
	u.opts.Logger.Info("enrolled", "facility", string(u.opts.Facility), "gate", string(u.opts.Gate))
	return e, nil
}

// keepEnrolled enrols with the configured code while there is no identity, and whenever the server no longer takes the one
// there is: the code may be a new one.
func (u *Uplink) keepEnrolled(ctx context.Context) {
	switch {
	case u.opts.Code == "" && u.opts.Identity.certificate() == nil:
		u.status.say(concernIdentity, "not enrolled, and the configuration gives no enrolment code")
		return
	case u.opts.Code == "":
		return
	case u.opts.Identity.certificate() == nil:
		u.enrolUntil(ctx, u.enrolled, newRetry(u.opts.Logger, "enrolling"), func(err error, text string) {
			u.status.heard(answered(err))
			u.status.say(concernIdentity, text)
		})
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-u.lapsed:
		}
		u.taken.clear()
		retry := newRetry(u.opts.Logger, "replacing a certificate that is no longer taken")
		u.enrolUntil(ctx, u.taken, retry, func(error, string) {}) // that the server refuses the gate is told already
		u.lapsed.clear()
	}
}

// enrolUntil tries the configured code until it has brought an identity, or other says that there is no need. failed is
// told each failure.
func (u *Uplink) enrolUntil(ctx context.Context, other <-chan struct{}, retry retry, failed func(err error, text string)) {
	for {
		_, err := u.Enrol(ctx, u.opts.Code)
		if err == nil {
			retry.succeed()
			return
		}
		if ctx.Err() != nil {
			return
		}
		wait := retry.next(u.opts.Network.Draw())
		var no *refusal
		if errors.As(err, &no) {
			wait = max(wait, no.after)
		}
		if hasCode(err, wire.CodeBadCode) { // no use in asking often
			wait, err = max(wait, time.Minute), fmt.Errorf("a new code is needed: %w", err)
		}
		failed(err, retry.fail(err))
		if !pause(ctx, other, wait) {
			return
		}
	}
}

// pause waits and reports whether the time has passed: false when ctx or other ended it.
func pause(ctx context.Context, other <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-other:
		return false
	case <-t.C:
		return true
	}
}
