package main

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
func (p *parts) Holding() (uint64, visit.SealKeyID) { return p.provisioner.Holding() }

// Provision implements uplink.Provisioner: with it the gate goes into service.
func (p *parts) Provision(w wire.Provision) error { return p.provisioner.Apply(w.SealKey, w.TrustList) }

// latest implements uplink.Options.Now.
func (p *parts) latest() time.Time { return p.clock.Read().Latest() }

// trustedTime is what the journal's retention goes by.
func (p *parts) trustedTime() (at time.Time, trusted bool) {
	r := p.clock.Read()
	return r.Now, r.State != visit.ClockUntrusted
}

// setDelivery implements uplink.Options.OnStatus.
func (p *parts) setDelivery(u uplink.Status) {
	p.gate.Revoke(u.Revoked)
	p.board.SetDelivery(health.Delivery{
		Enrolled: u.Enrolled, Provisioned: p.provisioner.Done(), Revoked: u.Revoked, Reached: u.Reached,
		LastError: u.LastError, Blocked: u.Blocked, Alerts: u.Alerts,
	})
}

// screenStatus implements screen.Options.Status. It is asked only once all parts are made.
func (p *parts) screenStatus() screen.Status {
	return screen.Status{
		InService: p.gate.Serves(), Reached: p.uplink.Status().Reached, Backlog: p.journal.Stats().Backlog,
		Clock: p.clock.Read().State, Faults: p.board.Shown(),
	}
}

// heartbeat implements uplink.Options.Heartbeat.
func (p *parts) heartbeat() wire.Heartbeat {
	stats := p.journal.Stats()
	h := wire.Heartbeat{
		Version: version, Backlog: stats.Backlog, Quarantine: stats.Quarantined,
		Clock: p.clock.Read().State.String(), FreeDisk: stats.FreeDisk,
	}
	if !stats.Oldest.IsZero() {
		h.Oldest = stats.Oldest.UnixMilli()
	}
	for _, code := range p.board.Codes() {
		h.Faults = append(h.Faults, string(code))
	}
	return h
}
