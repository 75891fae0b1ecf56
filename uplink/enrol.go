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
	if err := id.store(fileTerminal, key, e.Certificate); err != nil {
		return wire.Enrolment{}, fmt.Errorf("enrolling: %w", err)
	}
	u.client.close() // the next connection is made with the new certificate
	// Before the provision, with which visitors can be served: a gate that can and is not enrolled has lost its certificate.
	u.status.change(func(s *Status, errs *[concerns]string) { s.Enrolled, errs[concernIdentity] = true, "" })
	if err := u.accept(e.Provision); err != nil {
		u.status.say(concernProvision, err.Error())
		u.opts.Logger.Warn("provision that came with the enrolment; it is fetched again", "error", err)
	}
	if err := id.setRevoked(false); err != nil {
		return wire.Enrolment{}, fmt.Errorf("enrolling: %w", err)
	}
	u.status.change(func(s *Status, _ *[concerns]string) { s.Revoked, s.Unknown = false, false })
	u.setEnrolled()
	u.renewed.raise()
	u.opts.Logger.Info("enrolled", "facility", string(u.opts.Facility), "gate", string(u.opts.Gate))
	return e, nil
}

// keepEnrolled enrols with the configured code while there is no identity, and once more when the identity has lapsed:
// the code may be a new one.
func (u *Uplink) keepEnrolled(ctx context.Context) {
	if u.opts.Identity.certificate() == nil {
		if u.opts.Code == "" {
			u.status.say(concernIdentity, "not enrolled, and the configuration gives no enrolment code")
		} else if !u.enrolUntilDone(ctx) {
			return
		}
	}
	select {
	case <-ctx.Done():
		return
	case <-u.lapsed:
	}
	if u.opts.Code == "" {
		return
	}
	if _, err := u.Enrol(ctx, u.opts.Code); err != nil && ctx.Err() == nil {
		u.opts.Logger.Warn("the terminal's certificate is no longer taken and the configured code does not replace it; a new code is needed", "error", steadyText(err))
	}
}

// enrolUntilDone reports whether there is an identity, false when ctx ended first.
func (u *Uplink) enrolUntilDone(ctx context.Context) bool {
	retry := newRetry(u.opts.Logger, "enrolling")
	for {
		_, err := u.Enrol(ctx, u.opts.Code)
		if err == nil {
			retry.succeed()
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		u.status.heard(answered(err))
		u.status.say(concernIdentity, retry.fail(err))
		wait := retry.next(u.opts.Network.Draw())
		var no *refusal
		if errors.As(err, &no) {
			wait = max(wait, no.after)
		}
		if hasCode(err, wire.CodeBadCode) { // no use in asking often
			wait = max(wait, time.Minute)
		}
		if !pause(ctx, u.enrolled, wait) {
			return ctx.Err() == nil
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
