package sim

import (
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/firmware/clock"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
)

const (
	// lateAfter is the age of a frame from which nothing is green and no relay pulses for it.
	lateAfter = 3 * time.Second
	// grace is how much later than its time a day may be destroyed while a clock has to prove itself.
	grace = 2 * 24 * time.Hour
	// freshFor is an age at which a code is fresh for a gate that knows the time.
	freshFor = 12 * time.Second
	// soundAfter is how long after the last fault everything works again.
	soundAfter = 3 * time.Hour
	// answerBy is when a presentation that has had no answer is held to have none.
	answerBy = time.Minute
	// oldest is the age from which no gate that knows the time takes a code for a fresh one.
	oldest = token.Lifetime + clock.MaxSkew
)

// judge holds one thing that a gate showed to the promises made to visitors.
func (w *world) judge(p *presentation, s shown) {
	p.gate.tell(p, s)
	green := s.light == drivers.Green
	if age := s.at.Sub(s.began); (green || s.pulse) && age > lateAfter {
		w.violated("%s is green or opens %v after the code was read", p.gate.name, age)
	}
	if len(p.shown) > 1 {
		w.violated("%s gives a presentation %d outcomes", p.gate.name, len(p.shown))
	}
	if green {
		w.report.Green++
	}
	if green && p.gate.revoked && !p.gate.current.Before(p.gate.changed) {
		w.violated("%s is green though it is revoked and has heard of it", p.gate.name)
	}
	if p.ticket == nil {
		if green || s.pulse {
			w.violated("%s is green for a foreign code", p.gate.name)
		}
		return
	}
	if s.pulse {
		w.report.Pulses++
		if before, ok := p.gate.lamp.pulses[p.ticket.id]; ok {
			w.violated("%s opens for one code twice, %v apart", p.gate.name, s.at.Sub(before))
		}
		p.gate.lamp.pulses[p.ticket.id] = s.at
	}
	outcome := p.outcome()
	if green && w.sound(p.gate) && s.began.Sub(p.ticket.iat) > oldest {
		w.violated("%s is green for a code %v old", p.gate.name, s.began.Sub(p.ticket.iat))
	}
	if outcome != visit.Admitted.String() && p.first && s.began.Sub(p.ticket.iat) < freshFor && w.sound(p.gate) {
		w.violated("%s refuses a fresh code, though all has been well for hours: %s", p.gate.name, outcome)
	}
	switch {
	case outcome == visit.Admitted.String():
		if w.crowd.admitted[p.ticket.id] == nil {
			w.crowd.admitted[p.ticket.id] = p
			p.gate.visited = s.at
		}
		delete(w.crowd.unsure, p.ticket.id)
	case green:
		if w.crowd.admitted[p.ticket.id] == nil && w.crowd.unsure[p.ticket.id] == nil {
			w.violated("%s tells a visitor that is not recorded: %s", p.gate.name, outcome)
		}
	case outcome == visit.OutOfService.String() && w.crowd.admitted[p.ticket.id] == nil:
		w.crowd.unsure[p.ticket.id] = p
	}
}

// sound tells whether a gate and all it depends on have been well for long enough to work.
func (w *world) sound(g *gateParty) bool {
	heard := !g.current.Before(w.scheme.changed) && !g.current.Before(g.changed)
	return heard && !g.revoked && time.Since(w.unsound) > soundAfter && time.Since(g.unsound) > soundAfter
}

// notice takes note of what is not well at this moment.
func (w *world) notice() {
	w.troubled()
	now := time.Now()
	for _, g := range w.gates {
		if !g.well() {
			g.unsound = now
		}
		g.notice(now)
	}
	well := w.visits.clock.right()
	for _, i := range w.issuers {
		well = well && i.clock.right()
	}
	if !well {
		w.unsound = now
	}
}

// notice takes note of how the gate stands with its server.
func (g *gateParty) notice(now time.Time) {
	if g.cancel != nil && !g.disk.isDead() && g.journal.Stats().Backlog == 0 {
		g.cleared = now
	}
	if !g.connected() {
		g.cutOff = now
	}
	if now.Sub(g.cutOff) > soundAfter {
		g.current = now.Add(-soundAfter)
	}
	g.disk.mu.Lock()
	full := g.disk.full
	g.disk.mu.Unlock()
	if full { // it makes room for visitors
		g.forgot = now
		g.w.excuse(g)
	}
	if g.owes != nil && now.Sub(g.cutOff) > soundAfter {
		g.owes = nil
	}
}

// answered closes the presentations of the past: each had its outcome, unless its gate failed meanwhile.
func (w *world) answered() {
	for _, g := range w.gates {
		w.crowd.collect(g)
	}
	for key, p := range w.crowd.open {
		if time.Since(p.at) < answerBy {
			continue
		}
		delete(w.crowd.open, key)
		if len(p.shown) > 0 {
			continue
		}
		if !p.gate.failedSince(p.at) {
			w.violated("%s leaves a visitor without an answer", p.gate.name)
		}
		if p.ticket != nil && w.crowd.admitted[p.ticket.id] == nil {
			w.crowd.unsure[p.ticket.id] = p
		}
	}
}

// lifetimes holds every party to the end of what it keeps: nothing goes before its time, nothing stays after it.
func (w *world) lifetimes() {
	w.dead()
	w.kept("the visit server", w.visits.days())
	for _, i := range w.issuers {
		w.kept("issuer "+i.name, i.days())
	}
	for _, g := range w.gates {
		if g.cancel == nil {
			continue
		}
		if n := g.journal.Stats().Destroyed; n > 0 && w.young(28*24*time.Hour) {
			w.violated("%s has destroyed %d undelivered visits before their time", g.name, n)
		}
	}
}

// young tells whether the world is younger than that.
func (w *world) young(age time.Duration) bool { return time.Since(w.begun) < age }

// kept looks at the days of which a party has data.
func (w *world) kept(party string, days []day.Day) {
	for _, d := range days {
		if late := time.Since(d.DestroyAt()); late > grace {
			w.violated("%s still has the data of %v, %v too late", party, d, late)
		}
	}
}

// tombstones holds the days that the visit server says are gone to their time.
func (w *world) tombstones() error {
	l, err := w.visits.ledger()
	if err != nil {
		return err
	}
	w.report.Destroyed = len(l.Destroyed)
	for _, t := range l.Destroyed {
		d, err := day.Parse(t.Day)
		if err != nil {
			return err
		}
		if time.Now().Before(d.DestroyAt()) {
			w.violated("the visit server has destroyed %v, %v too early", d, time.Until(d.DestroyAt()))
		}
	}
	return nil
}

// whoWasThere asks as the health authority does and holds the answer against the truth: everybody who was shown green in
// the window, and nobody else.
func (w *world) whoWasThere(from, to time.Time) (complete bool) {
	list, _, err := w.authority.inquire(from, to)
	if err != nil {
		w.violated("an inquiry fails: %v", err)
		return false
	}
	found := map[string]bool{}
	for _, c := range list.Contacts {
		found[c.Phone] = true
	}
	w.report.Contacts += len(found)
	if list.Complete {
		w.report.Complete++
	}
	was, may := map[string]bool{}, map[string]bool{}
	for _, p := range w.crowd.admitted {
		if !p.at.Before(from) && p.at.Before(to) {
			was[p.ticket.holder.phone] = true
		}
	}
	for _, p := range w.crowd.unsure {
		if !p.at.Before(from.Add(-answerBy)) && p.at.Before(to.Add(answerBy)) {
			may[p.ticket.holder.phone] = true
		}
	}
	missing, extra := 0, 0
	for phone := range was {
		if !found[phone] {
			missing++
		}
	}
	for phone := range found {
		if !was[phone] && !may[phone] {
			extra++
		}
	}
	w.trace("inquiry %s to %s: %d contacts, truth %d, lacking %v %v %v", from.Format("01-02 15:04"), to.Format("01-02 15:04"),
		len(found), len(was), list.Missing, list.Shortfalls, list.Untold)
	w.sabotaged(silentList, func() { list.Complete = true })
	w.sabotaged(timidList, func() { list.Complete = false })
	// Of a gate that is copied nobody knows until both devices have delivered: either says that it is all there is.
	if missing > 0 && list.Complete && !w.copied() {
		w.violated("%d of %d persons who were there %s to %s are not found, and the list calls itself complete", missing, len(was), from, to)
	}
	if extra > 0 || len(list.Unknown) > 0 && !w.knownLost(from, to) {
		w.violated("%d persons were not there and %d visits nobody can tell of, %s to %s", extra, len(list.Unknown), from, to)
	}
	return list.Complete
}

// stored holds what the visit server has ever stored against the truth: each green once.
func (w *world) stored() error {
	l, err := w.visits.ledger()
	if err != nil {
		return err
	}
	for _, f := range l.Facilities {
		w.report.Stored += f.Stored
	}
	lost, twice := 0, 0
	for _, p := range w.crowd.admitted {
		if spoilt := w.damaged[day.Of(p.at)]; p.lost || spoilt {
			lost++
			if spoilt { // what cannot be read cannot be compared with what comes
				twice++
			}
		}
	}
	green, unsure := len(w.crowd.admitted), len(w.crowd.unsure)
	if stored := int(w.report.Stored); stored < green-lost || stored > green+unsure+twice {
		w.violated("%d visits are stored, %d were shown green, %d may be recorded and %d lost", stored, green, unsure, lost)
	}
	return nil
}
