package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/kipass/kipass/configs"
	"github.com/kipass/kipass/visitserver"
)

// ofDevices is what becomes of whole devices, with how often it does.
var ofDevices = []fault{
	{"gate's disk lost", 2, func(w *world, g *gateParty) { w.wipe(g) }},
	{"gate copied", 2, func(w *world, g *gateParty) { w.copyGate(g) }},
	{"gate revoked", 1, func(w *world, g *gateParty) { w.revoke(g) }},
}

// enrolAgain has an operator give the gate a new code, and a technician put it into the configuration.
func (g *gateParty) enrolAgain() error {
	var terminal struct{ Code string }
	name := string(g.config.Place.Name)
	err := g.w.visits.operate(visitserver.AdminRequest{Command: "terminal add", Args: []string{facility, name}}, &terminal)
	if err != nil {
		return err
	}
	g.revoked = false
	return g.configure(terminal.Code)
}

// copied tells whether there is a copy of a gate. Enrolling anything anew would shut it out with what it has read.
func (w *world) copied() bool {
	return slices.ContainsFunc(w.gates, func(g *gateParty) bool { return g.of != nil })
}

// wipe puts a new disk into a gate. What it had not delivered is lost, and has to be told as missing.
func (w *world) wipe(g *gateParty) {
	if w.copied() || !w.answers() {
		return
	}
	w.notice()
	since := g.cleared
	g.stop()
	if w.opts.Sabotage != secretWipe {
		w.forgive(g, since)
	}
	g.forgot, g.changed = time.Now(), time.Now()
	w.excuse(g)
	g.weather.change(func(c *conditions) { *c = conditions{} }) // the technician looks after it
	err := errors.Join(os.RemoveAll(g.config.Place.State), g.enrolAgain())
	w.check("enrolling a gate with a new disk", err)
	g.off(w.between(time.Minute, time.Hour), true)
	w.askOf(since, time.Now())
}

// revoke takes a gate's certificate from it; after a while the operator has it enrolled anew, and nothing is lost.
func (w *world) revoke(g *gateParty) {
	if w.copied() || g.revoked || !w.answers() {
		return
	}
	name := string(g.config.Place.Name)
	w.check("revoking a gate", w.visits.operate(visitserver.AdminRequest{Command: "terminal revoke", Args: []string{facility, name}}, nil))
	g.revoked, g.changed = true, time.Now()
	w.after(w.between(2*soundAfter, 2*24*time.Hour), func() { w.reinstate(g) })
}

// reinstate enrols a gate anew that was revoked.
func (w *world) reinstate(g *gateParty) {
	if !g.revoked { // enrolled anew for another reason
		return
	}
	if w.copied() || !w.answers() {
		w.after(time.Hour, func() { w.reinstate(g) })
		return
	}
	g.weather.change(func(c *conditions) { *c = conditions{} }) // the technician looks after it
	w.check("enrolling a gate anew", g.enrolAgain())
	g.changed = time.Now()
	g.off(time.Minute, false)
}

// copyGate copies a gate's whole disk into another device, which works elsewhere under the same name for a while. Only one of
// the two can renew its certificate: that the other runs out before anybody looks is no fault.
func (w *world) copyGate(g *gateParty) {
	if w.life > 0 || w.copied() || g.revoked || g.cancel == nil || g.current.Before(g.changed) || !g.connected() {
		return
	}
	w.copies++
	c := &gateParty{
		w: w, of: g, name: g.name + "-copy", config: g.config, clock: newWallClock(), disk: newGateDisk(), reader: newReader(),
		rng: rand.New(rand.NewPCG(w.opts.Seed, uint64(1000+w.copies))), changed: time.Now(), current: g.current,
		heard: newTimeline(), troubles: newTimeline(),
	}
	c.lamp = &lamp{g: c, pulses: map[string]time.Time{}}
	c.config.Place.State = w.path(c.name)
	g.stop()
	err := errors.Join(os.RemoveAll(c.config.Place.State), os.CopyFS(c.config.Place.State, os.DirFS(g.config.Place.State)), g.start(), c.start())
	w.check("copying a gate", err)
	w.gates = append(w.gates, c)
	for _, at := range []*gateParty{g, c} {
		for range 3 {
			w.after(w.between(time.Hour, 6*time.Hour), func() { w.crowd.visitor(at) })
		}
	}
	w.after(w.between(8*time.Hour, 2*24*time.Hour), func() { w.uncover(c) })
}

// alertsOfCopies are those that tell of two devices.
var alertsOfCopies = []string{
	visitserver.AlertNewJournal, visitserver.AlertParallel, visitserver.AlertFork, visitserver.AlertRollback,
	visitserver.AlertRenewal, visitserver.AlertCertificates,
}

// uncover takes the copy out of service once both have delivered, by when somebody must have been told. While a backup may
// still be restored the copy stays: nobody else could send such a server again what the copy has delivered since.
func (w *world) uncover(c *gateParty) {
	g := c.of
	w.notice()
	both := g.visited.After(c.changed) && c.visited.After(c.changed)
	delivered := c.cancel != nil && !c.disk.isDead() && c.journal.Stats().Backlog == 0 && (!both || g.cleared.After(g.visited))
	if !delivered || w.backup != nil || !w.answers() {
		w.after(time.Hour, func() { w.uncover(c) })
		return
	}
	name := string(g.config.Place.Name)
	w.sabotaged(blindOperator, func() { _ = w.acknowledge(g) })
	var told struct{ Alerts []visitserver.Alert }
	w.check("listing alerts", w.visits.operate(visitserver.AdminRequest{Command: "alert list"}, &told))
	seen := slices.ContainsFunc(told.Alerts, func(a visitserver.Alert) bool {
		return string(a.Gate) == name && slices.Contains(alertsOfCopies, a.Alert)
	})
	if both && !seen {
		w.violated("nobody is told that there are two of %s: %v", g.name, told.Alerts)
	}
	c.stop()
	w.crowd.collect(c)
	w.gates = slices.DeleteFunc(w.gates, func(g *gateParty) bool { return g == c })
	w.trace("the copy of %s is found, alerts %d", g.name, len(told.Alerts))
	if err := w.acknowledge(g); err != nil && seen {
		w.violated("an alert is not acknowledged: %v", err)
	}
}

// acknowledge has the operator look into a gate's alerts.
func (w *world) acknowledge(g *gateParty) error {
	name := string(g.config.Place.Name)
	return w.visits.operate(visitserver.AdminRequest{Command: "alert acknowledge", Args: []string{facility, name}}, nil)
}

// configure makes the gate's configuration, with a code to enrol with.
func (g *gateParty) configure(code string) (err error) {
	text := fmt.Sprintf(gateConfig, facility, g.name, g.w.path(g.name), serverHost, code, g.w.scheme.public())
	g.config, err = configs.Parse(g.name+".toml", []byte(text))
	return err
}
