package sim

import (
	"math/rand/v2"
	"slices"
	"time"
)

// fault is one thing that goes wrong.
type fault struct {
	name   string
	weight int
	strike func(w *world, g *gateParty)
}

// between draws a time.
func (w *world) between(least, most time.Duration) time.Duration { return between(w.rng, least, most) }

func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)))
}

// faults is everything that goes wrong.
var faults = slices.Concat(everyday, ofOperators, ofFiles, ofKeys, ofDevices)

// everyday is what breaks by itself, with how often it does.
var everyday = []fault{
	{"gate restarted", 2, func(w *world, g *gateParty) { g.off(w.between(time.Second, 20*time.Second), false) }},
	{"gate killed", 2, func(w *world, g *gateParty) {
		if g.memory != "" {
			w.killBetween(g)
		}
	}},
	{"gate's power cut", 3, func(w *world, g *gateParty) {
		g.disk.change(func(d *gateDisk) { d.cutIn, d.after = 1+w.rng.IntN(6), w.rng.IntN(2) == 0 })
	}},
	{"gate off for the night", 1, func(w *world, g *gateParty) { g.off(w.between(time.Hour, 9*time.Hour), true) }},
	{"network down", 4, func(w *world, g *gateParty) {
		g.weather.change(func(c *conditions) { c.down = true })
		w.after(w.between(time.Minute, 3*24*time.Hour), func() { g.weather.change(func(c *conditions) { c.down = false }) })
	}},
	{"network down for weeks", 1, func(w *world, g *gateParty) {
		g.weather.change(func(c *conditions) { c.down = true })
		w.after(w.between(4*24*time.Hour, 24*24*time.Hour), func() { g.weather.change(func(c *conditions) { c.down = false }) })
	}},
	{"captive portal", 1, func(w *world, g *gateParty) {
		g.weather.change(func(c *conditions) { c.portal = true })
		w.after(w.between(time.Minute, 5*time.Hour), func() { g.weather.change(func(c *conditions) { c.portal = false }) })
	}},
	{"slow network", 2, func(w *world, g *gateParty) {
		delay := w.between(50*time.Millisecond, 20*time.Second)
		g.weather.change(func(c *conditions) { c.delay = delay })
		w.after(w.between(time.Hour, 24*time.Hour), func() { g.weather.change(func(c *conditions) { c.delay = 0 }) })
	}},
	{"requests twice", 2, func(w *world, g *gateParty) { g.weather.change(func(c *conditions) { c.twice = 1 + w.rng.IntN(5) }) }},
	{"answers lost", 3, func(w *world, g *gateParty) { g.weather.change(func(c *conditions) { c.lost = 1 + w.rng.IntN(5) }) }},
	{"slow disk", 2, func(w *world, g *gateParty) {
		slow := w.between(100*time.Millisecond, 9*time.Second)
		g.disk.change(func(d *gateDisk) { d.slow = slow })
		w.after(w.between(time.Minute, time.Hour), func() { g.disk.change(func(d *gateDisk) { d.slow = 0 }) })
	}},
	{"full disk", 2, func(w *world, g *gateParty) {
		g.disk.change(func(d *gateDisk) { d.full = true })
		w.after(w.between(time.Minute, 6*time.Hour), func() { g.disk.change(func(d *gateDisk) { d.full = false }) })
	}},
	{"disk fails", 2, func(w *world, g *gateParty) { g.disk.change(func(d *gateDisk) { d.broken = 1 + w.rng.IntN(4) }) }},
	{"gate's NTP lost", 2, func(w *world, g *gateParty) { w.wrong(g.clock, 0, false) }},
	{"gate's clock wrong", 4, func(w *world, g *gateParty) { w.wrong(g.clock, w.offset(), false) }},
	{"gate's NTP wrong", 2, func(w *world, g *gateParty) { w.wrong(g.clock, w.offset(), true) }},
	{"server's clock wrong", 2, func(w *world, _ *gateParty) { w.wrong(w.visits.clock, w.offset(), true) }},
	{"issuer's clock wrong", 1, func(w *world, _ *gateParty) {
		w.wrong(w.issuers[w.rng.IntN(len(w.issuers))].clock, w.between(-30*time.Second, 30*time.Second), true)
	}},
	{"server restarted", 2, func(w *world, _ *gateParty) { w.visits.off(w.between(time.Second, time.Hour)) }},
	{"server's power cut", 4, func(w *world, _ *gateParty) {
		w.visits.mu.Lock()
		defer w.visits.mu.Unlock()
		w.visits.cutIn = 1 + w.rng.IntN(12)
	}},
}

// offsets are how wrong clocks are: drift, the hour of another zone, a battery that was empty, a receiver whose weeks began
// anew.
var offsets = []time.Duration{
	40 * time.Second, 10 * time.Minute, 9 * time.Hour, 3 * 24 * time.Hour, 40 * 24 * time.Hour, 1024 * 7 * 24 * time.Hour, 36 * 365 * 24 * time.Hour,
}

// offset draws how wrong a clock is.
func (w *world) offset() time.Duration {
	by := offsets[w.rng.IntN(len(offsets))]
	if w.rng.IntN(2) == 0 {
		return -by
	}
	return by
}

// wrong sets a clock wrong for a while.
func (w *world) wrong(c *wallClock, by time.Duration, synced bool) {
	w.trace("clock off by %v, synced %v", by, synced)
	c.set(by, synced)
	w.after(w.between(10*time.Minute, 12*time.Hour), func() { c.set(0, true) })
}

// killBetween kills a gate's program between the two times that somebody shows one code.
func (w *world) killBetween(g *gateParty) {
	w.crowd.visitorWho(g, func(t *ticket) {
		w.crowd.show(g, t, t.text, 2600*time.Millisecond)
		g.kill(time.Second)
		w.crowd.show(g, t, t.text, 3*time.Second)
	})
}

// strike lets one fault happen.
func (w *world) strike() {
	total := 0
	for _, f := range faults {
		total += f.weight
	}
	n := w.rng.IntN(total)
	for _, f := range faults {
		if n -= f.weight; n < 0 {
			g := w.gates[w.rng.IntN(len(w.gates))]
			w.trace("FAULT %s (%s)", f.name, g.name)
			w.report.Faults[f.name]++
			f.strike(w, g)
			return
		}
	}
}

// calm ends every fault that lasts.
func (w *world) calm() {
	for _, g := range w.gates {
		g.weather.change(func(c *conditions) { *c = conditions{} })
		g.clock.set(0, true)
		g.disk.change(func(d *gateDisk) { d.slow, d.full, d.broken, d.cutIn = 0, false, 0, 0 })
	}
	w.visits.clock.set(0, true)
	for _, i := range w.issuers {
		i.clock.set(0, true)
		i.space.full.Store(false)
	}
	w.visits.mu.Lock()
	defer w.visits.mu.Unlock()
	w.visits.cutIn = 0
}
