package sim

import (
	"slices"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/protocol/visit"
)

// Troubles: of a gate, or of what all gates depend on.
const (
	gateOn       = "the gate is on"
	gateStarts   = "the gate starts"
	noNetwork    = "there is no network"
	poorNetwork  = "the network is slow or loses answers"
	diskFull     = "the disk is full"
	diskTrouble  = "the disk is slow, fails, or loses its power"
	gateClock    = "the gate's clock is wrong, or nobody vouches for it"
	clockStepped = "the clock was set wrong while there was no network, and nobody vouches for it"
	clockMisled  = "the gate's time server is wrong, and all others are right"
	allRefused   = "all codes were refused for a minute"
	otherDevice  = "the gate has lately become another device, or is copied, or revoked"
	gateRevoked  = "the gate is revoked: it reads no codes, and its server tells it no time"
	outOfService = "a visitor was told that the gate is out of service"

	serverOff      = "the visit server is off"
	serverRestored = "the visit server was restored from a backup"
	serverClock    = "the visit server's clock is wrong"
	issuerClock    = "an issuer's clock is wrong"
)

// troubled notes what is wrong at this moment.
func (w *world) troubled() {
	now := time.Now()
	w.troubles.note(serverClock, !w.visits.clock.right(), now)
	wrong := func(i *issuerParty) bool { return !i.clock.right() }
	w.troubles.note(issuerClock, slices.ContainsFunc(w.issuers, wrong), now)
	for _, g := range w.gates {
		g.troubled(now)
	}
}

func (g *gateParty) troubled(now time.Time) {
	g.weather.mu.Lock()
	sky := g.weather.conditions
	g.weather.mu.Unlock()
	g.disk.mu.Lock()
	full, bad := g.disk.full, g.disk.dead || g.disk.slow > 0 || g.disk.broken > 0 || g.disk.cutIn > 0
	g.disk.mu.Unlock()
	g.clock.mu.Lock()
	off, vouched := g.clock.offset.Abs(), g.clock.synced || g.clock.battery
	synced := g.clock.synced
	g.clock.mu.Unlock()
	note := func(what string, holds bool) { g.troubles.note(what, holds, now) }
	note(noNetwork, sky.down || sky.portal)
	note(poorNetwork, sky.delay > 0 || sky.lost > 0)
	note(diskFull, full)
	note(otherDevice, g.revoked || g.w.copied() || !g.changed.IsZero() && now.Sub(g.changed) < 3*24*time.Hour)
	note(diskTrouble, bad)
	note(gateRevoked, g.revoked)
	note(gateClock, off != 0 || !synced)
	down, isDown := g.troubles.since(noNetwork)
	wrong, _ := g.troubles.since(gateClock)
	note(clockStepped, off >= time.Minute && !vouched && isDown && down.Before(wrong))
	note(clockMisled, off >= 10*time.Minute && synced && g.othersKnowTheTime(now))
}

// othersKnowTheTime tells whether a gate could know by now from all others what time it is.
func (g *gateParty) othersKnowTheTime(now time.Time) bool {
	for _, what := range []string{serverOff, serverClock, issuerClock, noNetwork, poorNetwork, gateStarts, gateRevoked} {
		stretches := slices.Concat(g.troubles.of(what), g.w.troubles.of(what))
		if covered(stretch{now, now}, prolonged(stretches, wordLag)) {
			return false
		}
	}
	return true
}

// refusals are what a gate has told visitors since it last admitted one.
type refusals struct {
	since time.Time
	codes map[string]bool
}

// refusedFor and refusedCodes are from when on all codes count as refused.
const (
	refusedFor   = time.Minute
	refusedCodes = 3
)

var refusing = []string{
	visit.Expired.String(), visit.NotYetValid.String(), visit.UnknownIssuer.String(), visit.NotGenuine.String(),
}

// tell takes note of what a gate told a visitor, as far as its board has to know as well.
func (g *gateParty) tell(p *presentation, s shown) {
	outcome := p.outcome()
	if outcome == visit.OutOfService.String() {
		g.troubles.moment(outOfService, s.at)
	}
	if s.light == drivers.Green {
		g.refusals = refusals{}
		g.troubles.note(allRefused, false, s.at)
	}
	if !slices.Contains(refusing, outcome) {
		return
	}
	if g.refusals.codes == nil {
		g.refusals = refusals{since: p.at, codes: map[string]bool{}}
	}
	id := p.at.String() // of a key that is revoked: each is shown once
	if p.ticket != nil {
		id = p.ticket.id
	}
	g.refusals.codes[id] = true
	if len(g.refusals.codes) >= refusedCodes && p.at.Sub(g.refusals.since) >= refusedFor {
		g.troubles.note(allRefused, true, p.at)
	}
}
