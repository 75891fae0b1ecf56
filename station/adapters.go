package station

import (
	"time"

	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/firmware/screen"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
	"github.com/kipass/kipass/uplink"
)

// What follows hands over what one part knows in the terms of another: firmware and uplink do not know each other.

// Holding implements uplink.Provisioner.
func (s *Station) Holding() (uint64, visit.SealKeyID) { return s.provisioner.Holding() }

// Provision implements uplink.Provisioner: with it the gate goes into service.
func (s *Station) Provision(w wire.Provision) error {
	return s.provisioner.Apply(w.SealKey, w.TrustList)
}

// time implements uplink.Options.Time. A battery clock that nothing supports yet is not known to be right.
func (s *Station) time() (now time.Time, known bool) {
	r := s.clock.Read()
	return r.Now, r.State != visit.ClockUntrusted && !r.Suspect
}

// confirmedTime is what the journal's retention goes by: on the word of one source alone nothing undelivered ends.
func (s *Station) confirmedTime() (at time.Time, confirmed bool) {
	r := s.clock.Read()
	return r.Now, r.Confirmed
}

// setDelivery implements uplink.Options.OnStatus.
func (s *Station) setDelivery(u uplink.Status) {
	s.gate.Revoke(u.Revoked)
	s.opts.Board.SetDelivery(health.Delivery{
		Enrolled: u.Enrolled, Provisioned: s.provisioner.Done(), Revoked: u.Revoked, Unknown: u.Unknown, Reached: u.Reached, DateWrong: u.DateWrong,
		KeyExchange: u.KeyExchange, Classic: u.Classic, LastError: u.LastError, Blocked: u.Blocked, Alerts: u.Alerts,
	})
}

// screenStatus implements screen.Options.Status. It is asked only once all parts are made.
func (s *Station) screenStatus() screen.Status {
	delivery, stats, at := s.uplink.Status(), s.opts.Journal.Stats(), s.clock.Read()
	return screen.Status{
		InService: s.gate.Serves(), Reached: delivery.Reached, KeyExchange: delivery.KeyExchange, Backlog: stats.Backlog,
		OldestKept: stats.Age(at.Passed()), Overdue: stats.Overdue(at.Passed()), Clock: at.State, Faults: s.opts.Board.Shown(),
	}
}

// heartbeat implements uplink.Options.Heartbeat.
func (s *Station) heartbeat() wire.Heartbeat {
	stats := s.opts.Journal.Stats()
	h := wire.Heartbeat{
		Version: s.opts.Version, Backlog: stats.Backlog, Quarantine: stats.Quarantined,
		Clock: s.clock.Read().State.String(), FreeDisk: stats.FreeDisk,
		SealKey: s.sealKey(), Journal: stats.Journal, Settled: stats.Tail.Seq, Chain: stats.Tail.Chain,
	}
	if !stats.Oldest.IsZero() {
		h.Oldest = stats.Oldest.UnixMilli()
	}
	for _, code := range s.opts.Board.Codes() {
		h.Faults = append(h.Faults, string(code))
	}
	return h
}

// sealKey names the key that the next visit would be sealed to.
func (s *Station) sealKey() visit.SealKeyID {
	_, key := s.provisioner.Holding()
	return key
}
