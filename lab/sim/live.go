package sim

import (
	"container/heap"
	"fmt"
	"slices"
	"time"

	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/protocol/day"
)

// event is something the world does at a time of its own.
type event struct {
	at time.Time
	n  int // order of events of one time
	do func()
}

// agenda is a heap of events.
type agenda struct {
	events []event
	count  int
}

func (a *agenda) Len() int { return len(a.events) }
func (a *agenda) Less(i, j int) bool {
	x, y := a.events[i], a.events[j]
	return x.at.Before(y.at) || x.at.Equal(y.at) && x.n < y.n
}
func (a *agenda) Swap(i, j int) { a.events[i], a.events[j] = a.events[j], a.events[i] }
func (a *agenda) Push(e any)    { a.events = append(a.events, e.(event)) }
func (a *agenda) Pop() any {
	last := a.events[len(a.events)-1]
	a.events = a.events[:len(a.events)-1]
	return last
}

// at puts something on the agenda.
func (w *world) at(t time.Time, do func()) {
	w.agenda.count++
	heap.Push(&w.agenda, event{t, w.agenda.count, do})
}

func (w *world) after(d time.Duration, do func()) { w.at(time.Now().Add(d), do) }

// live plays the days, one event after the other.
func (w *world) live() error {
	for n := range w.opts.Days {
		w.at(w.begun.Add(time.Duration(n)*24*time.Hour+time.Minute), w.plan)
	}
	w.planIssuers()
	end := w.begun.Add(time.Duration(w.opts.Days) * 24 * time.Hour)
	for w.agenda.Len() > 0 {
		e := heap.Pop(&w.agenda).(event)
		if e.at.After(end) {
			break
		}
		time.Sleep(time.Until(e.at))
		if err := w.tend(); err != nil {
			return err
		}
		w.notice()
		e.do()
		w.notice()
		w.answered()
	}
	return nil
}

// tend starts again what has lost its power.
func (w *world) tend() error {
	if _, err := w.tendVisits(); err != nil {
		return err
	}
	for _, g := range w.gates {
		if !g.disk.isDead() {
			continue
		}
		w.trace("%s lost its power and is started again", g.name)
		if err := g.restart(w.between(20*time.Second, time.Hour), true); err != nil {
			return fmt.Errorf("%s after a power cut: %w", g.name, err)
		}
	}
	return nil
}

// tendVisits starts the visit server again if it has lost its power, and tells whether it had.
func (w *world) tendVisits() (cut bool, err error) {
	if cut, err = w.visits.afterCut(); cut {
		w.trace("the visit server lost its power and is started again")
	}
	if err != nil {
		return cut, fmt.Errorf("visit server after a power cut: %w", err)
	}
	return cut, nil
}

// plan draws a day: who comes, what goes wrong, and when it is looked after. It is called at nine in the morning.
func (w *world) plan() {
	for _, g := range w.gates {
		for range 4 + w.rng.IntN(12) {
			w.after(w.between(time.Hour, 15*time.Hour), func() { w.crowd.visitor(g) })
		}
		if w.rng.IntN(4) == 0 { // around midnight, when one day's key ends and another's begins
			w.after(15*time.Hour-w.between(time.Second, 30*time.Second), func() { w.crowd.visitor(g) })
		}
	}
	if !w.opts.Calm {
		for range w.rng.IntN(4) {
			w.after(w.between(time.Hour, 20*time.Hour), w.strike)
		}
	}
	w.after(18*time.Hour, w.inspect)
	w.sabotaged(forgetfulGate, func() { w.after(5*time.Hour, func() { w.killBetween(w.gates[0]) }) })
	w.sabotaged(mutedDoubt, func() { w.visits.clock.set(3*24*time.Hour, true) })
	w.sabotaged(mutedIssuerDoubt, func() { w.issuers[0].clock.set(3*24*time.Hour, true) })
	w.sabotaged(mutedSpace, func() { w.issuers[0].space.full.Store(true) })
	w.sabotaged(mutedAlarm, func() { w.gates[0].weather.change(func(c *conditions) { c.down = true }) })
	w.sabotaged(falseAlarm, func() { w.gates[0].board.Set(health.ReaderGarbled, "front", "sabotage") })
	w.sabotaged(silentList, func() {
		w.gates[0].weather.change(func(c *conditions) { c.down = true })
	})
	w.sabotaged(lyingDisk, w.lie)
	w.after(17*time.Hour, w.sabotageAtNight)
	w.sabotaged(hastyServer, func() { w.after(17*time.Hour, w.visits.haste) })
}

// inspect holds the system to its promises, in the quiet of the night.
func (w *world) inspect() {
	w.lifetimes()
	w.certificates()
	w.warnings()
	for _, i := range w.issuers {
		w.issuerWarnings(i)
	}
	if err := w.tombstones(); err != nil {
		w.violated("the visit server's ledger: %v", err)
	}
	if w.rng.IntN(3) == 0 && w.answers() {
		back := min(w.rng.IntN(27), int(time.Since(w.begun)/(24*time.Hour)))
		today := day.Of(time.Now()).Start()
		from := today.AddDate(0, 0, -back-1).Add(3 * time.Hour)
		w.whoWasThere(from, from.Add(24*time.Hour))
	}
}

// answers tells whether the visit server and the issuers would obey an order now: all are on and know the time.
func (w *world) answers() bool {
	for _, i := range w.issuers {
		if !i.clock.right() || i.handler.Load() == nil {
			return false
		}
	}
	return w.visits.clock.right() && (w.visits.handler.Load() != nil || w.opts.TLS)
}

// delivered tells whether every gate is on and has nothing left to deliver.
func (w *world) delivered() bool {
	for _, g := range w.gates {
		if g.cancel == nil || g.disk.isDead() || g.journal.Stats().Backlog > 0 {
			return false
		}
	}
	return w.answers()
}

// putRight has operators do what they would have done in time: copies are taken away, and gates that were revoked are enrolled
// anew. Nobody restores a backup any more.
func (w *world) putRight() {
	w.backup = nil
	for _, g := range slices.Clone(w.gates) {
		if g.of != nil {
			w.uncover(g)
		}
	}
	for _, g := range w.gates {
		w.reinstate(g)
	}
}

// recovered lets people come once more when operators have looked into everything and the server has had the time to believe
// its clock: of this hour an inquiry lacks nothing, and says so.
func (w *world) recovered() error {
	if w.putRight(); w.copied() {
		return nil
	}
	time.Sleep(proveLag)
	for _, g := range w.gates {
		if err := w.acknowledge(g); err != nil {
			w.trace("%v", err) // nothing to look into
		}
	}
	from := time.Now()
	for _, g := range w.gates {
		w.crowd.visitorWho(g, func(t *ticket) { w.crowd.show(g, t, t.text, 3*time.Second) })
	}
	to := time.Now()
	time.Sleep(3 * lookSeldom)
	w.answered()
	if !w.whoWasThere(from, to) {
		w.violated("nothing is wrong any more, and an inquiry is not complete")
	}
	return nil
}

// settle ends all faults, lets everything be delivered, and asks for all of it.
func (w *world) settle() error {
	w.calm()
	w.notice()
	if err := w.tend(); err != nil {
		return err
	}
	for _, g := range w.gates {
		if g.cancel == nil {
			if err := g.start(); err != nil {
				return err
			}
		}
	}
	w.calm()
	for wait := 0; !w.delivered(); wait++ {
		if w.putRight(); wait == 48 {
			w.violated("two days after the last fault not everything is delivered")
			break
		}
		time.Sleep(time.Hour)
	}
	for _, i := range w.issuers {
		w.renew(i)
	}
	w.answered()
	w.lifetimes()
	if err := w.tombstones(); err != nil {
		return err
	}
	end := time.Now()
	time.Sleep(3 * lookSeldom) // until every gate has said that it has delivered what came before
	w.certificates()
	w.whoWasThere(day.Of(end).Start().AddDate(0, 0, -13), end)
	return nil
}

// takeStock holds what every party has come to tell against the truth.
func (w *world) takeStock() error {
	w.alarms()
	return w.stored()
}
