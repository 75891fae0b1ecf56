package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kipass/kipass/firmware"
	"github.com/kipass/kipass/firmware/clock"
	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/firmware/journal"
	"github.com/kipass/kipass/firmware/screen"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
	"github.com/kipass/kipass/uplink"
)

// station is what gate and uplink share: it hands over what either learns.
type station struct {
	gate    *firmware.Gate
	journal *journal.Journal
	clock   *clock.Clock
	trust   *token.Trust
	board   *health.Board
	log     *slog.Logger
	seal    visit.SealKeyID // of the provision in use; owned by the uplink's goroutine once it runs

	provisioned atomic.Bool // sealing key and trust list are in use: visitors can be served, enrolled or not
}

// Holding implements uplink.Provisioner.
func (s *station) Holding() (uint64, visit.SealKeyID) { return s.trust.Version(), s.seal }

// Provision implements uplink.Provisioner: with it the gate goes into service.
func (s *station) Provision(p wire.Provision) error {
	key, err := visit.ParseSealPublicKey(p.SealKey)
	if err != nil {
		return err
	}
	if err := s.trust.Update(p.TrustList); err != nil {
		return err
	}
	if key.ID() != s.seal {
		s.journal.SetSealKey(key)
		s.seal = key.ID()
	}
	s.gate.Use(s.journal)
	s.provisioned.Store(true)
	s.log.Info("in service", "trust_list", s.trust.Version(), "seal_key", s.seal.String())
	return nil
}

// now implements uplink.Options.Now: the gate's clock, or what is known for certain where that is later.
func (s *station) now() time.Time {
	r := s.clock.Read()
	if r.Floor.After(r.Now) {
		return r.Floor
	}
	return r.Now
}

// connected implements uplink.Options.OnStatus.
func (s *station) connected(u uplink.Status) {
	s.gate.Revoke(u.Revoked)
	s.fault(health.Revoked, u.Revoked, "")
	provisioned := s.provisioned.Load()
	s.fault(health.NotEnrolled, !u.Enrolled && !provisioned, u.LastError)
	s.fault(health.CertificateLost, !u.Enrolled && provisioned, u.LastError)
	s.fault(health.Offline, !u.Reached, u.LastError)
	s.fault(health.RecordBlocked, u.Blocked > 0, fmt.Sprintf("%d", u.Blocked))
	s.fault(health.JournalJumped, len(u.Alerts) > 0, strings.Join(u.Alerts, ", "))
}

func (s *station) fault(c health.Code, holds bool, detail string) {
	if holds {
		s.board.Set(c, "", detail)
	} else {
		s.board.Clear(c, "")
	}
}

const (
	vitalsEvery  = 2 * time.Second
	destroyEvery = 10 * time.Minute
)

// watch keeps the board true to the journal and destroys what has had its time.
func (s *station) watch(ctx context.Context) {
	vitals := time.NewTicker(vitalsEvery)
	defer vitals.Stop()
	destroy := time.NewTicker(destroyEvery)
	defer destroy.Stop()
	s.destroy()
	for {
		s.vitals()
		select {
		case <-vitals.C:
		case <-destroy.C:
			s.destroy()
		case <-ctx.Done():
			return
		}
	}
}

func (s *station) vitals() {
	stats := s.journal.Stats()
	s.fault(health.JournalFull, stats.Full != nil, errorText(stats.Full))
	s.fault(health.JournalReplaced, stats.Damage != "" || len(stats.Replaced) > 0, strings.Join(slices.Concat([]string{stats.Damage}, stats.Replaced), " "))
	s.fault(health.Quarantined, stats.Quarantined > 0, fmt.Sprintf("%d", stats.Quarantined))
	s.fault(health.Undelivered, stats.Destroyed > 0, fmt.Sprintf("%d", stats.Destroyed))
	s.fault(health.TrustStale, s.trust.Version() > 0 && s.trust.Stale(s.now()), "")
	s.recover(stats)
}

// recover finds out whether a journal that has failed works again. No visitor would: they use the paper register meanwhile.
func (s *station) recover(stats journal.Stats) {
	told := slices.ContainsFunc(s.board.Shown(), func(f health.Fault) bool { return f.Code == health.JournalFailed })
	switch {
	case stats.Full != nil: // says it all
		s.board.Clear(health.JournalFailed, "")
	case told || stats.Failed != nil:
		err := s.journal.Probe()
		s.fault(health.JournalFailed, err != nil, errorText(err))
	}
}

// destroy ends the retention of undelivered records. A clock that is not trusted may not end anything.
func (s *station) destroy() {
	now := s.clock.Read()
	if now.State == visit.ClockUntrusted {
		return
	}
	if n, err := s.journal.Destroy(now.Now); err != nil {
		s.log.Error("destroying records past their retention", "error", err)
	} else if n > 0 {
		s.log.Warn("records past their retention destroyed undelivered", "records", n)
	}
}

// timekeeper is the gate's clock with a memory: what genuine codes prove of the time goes to the disk with their visits.
type timekeeper struct {
	*clock.Clock
	journal *journal.Journal
}

func (k timekeeper) Evidence(issuer string, iat time.Time) {
	k.Clock.Evidence(issuer, iat)
	k.journal.RaiseTimeFloor(k.Clock.Read().Floor)
}

// status implements screen.Options.Status. The uplink is nil until it is made.
func (s *station) status(u *uplink.Uplink) screen.Status {
	status := screen.Status{
		InService: s.gate.Serves(), Backlog: s.journal.Stats().Backlog, Clock: s.clock.Read().State, Faults: s.board.Shown(),
	}
	if u != nil {
		status.Reached = u.Status().Reached
	}
	return status
}

// heartbeat implements uplink.Options.Heartbeat.
func (s *station) heartbeat() wire.Heartbeat {
	stats := s.journal.Stats()
	h := wire.Heartbeat{
		Version: version, Backlog: stats.Backlog, Quarantine: stats.Quarantined,
		Clock: s.clock.Read().State.String(), FreeDisk: stats.FreeDisk,
	}
	if !stats.Oldest.IsZero() {
		h.Oldest = stats.Oldest.UnixMilli()
	}
	for _, f := range s.board.Shown() {
		if code := string(f.Code); !slices.Contains(h.Faults, code) {
			h.Faults = append(h.Faults, code)
		}
	}
	return h
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
