package sim

import (
	"errors"
	"slices"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/firmware/health"
)

// scene plays something of its own in a world in which nothing else goes wrong.
func scene(t *testing.T, play func(w *world)) {
	t.Helper()
	cryptotest.SetGlobalRandom(t, 1)
	synctest.Test(t, func(t *testing.T) {
		w, clean := newWorld(t, Options{Seed: 1, Days: 1, Calm: true})
		defer clean()
		defer w.close()
		if err := w.found(); err != nil {
			t.Fatal(err)
		}
		play(w)
		for _, b := range w.report.Broken {
			t.Error(b)
		}
	})
}

// A gate that has been without a network starts again on a clock that is 40 days ahead: what it has not delivered stays, and
// is delivered once there is a network.
func TestAClockAheadDestroysNothingUndelivered(t *testing.T) {
	for source, synced := range map[string]bool{"a battery": false, "a time server": true} {
		t.Run(source, func(t *testing.T) {
			scene(t, func(w *world) {
				g := w.gates[0]
				time.Sleep(time.Hour)
				g.weather.change(func(c *conditions) { c.down = true })
				w.notice()
				for range 6 {
					w.crowd.visitorWho(g, func(tk *ticket) { w.crowd.show(g, tk, tk.text, 3*time.Second) })
				}
				g.stop()
				g.clock.set(40*24*time.Hour, synced)
				g.clock.battery = true
				g.clock.boot()
				w.notice()
				w.must(g.start())
				time.Sleep(2 * time.Hour)
				if s := g.journal.Stats(); s.Destroyed != 0 || s.Backlog != 6 {
					t.Errorf("%d undelivered visits are left and %d destroyed, of 6", s.Backlog, s.Destroyed)
				}
				g.clock.set(0, true)
				w.must(errors.Join(w.settle(), w.takeStock()))
				if w.report.Stored != 6 {
					t.Errorf("%d of 6 visits are stored", w.report.Stored)
				}
			})
		})
	}
}

// A visit server that is restored from a backup day after day, while its operator gives it the time each time, keeps nothing
// late.
func TestAServerThatIsRestoredAgainAndAgainKeepsNothingLate(t *testing.T) {
	withoutRace(t)
	scene(t, func(w *world) {
		w.crowd.visitorWho(w.gates[0], func(tk *ticket) { w.crowd.show(w.gates[0], tk, tk.text, 3*time.Second) })
		time.Sleep(27*24*time.Hour + 12*time.Hour)
		for range 4 {
			b, err := w.visits.backUp()
			w.must(err)
			time.Sleep(20 * time.Hour)
			w.must(w.visits.restore(b))
		}
		w.lifetimes()
	})
}

// A copy of a gate is found out between a backup of the visit server and its restoration: what it delivered meanwhile is not
// lost, for the operator lets nothing go that such a server would have to ask for.
func TestACopyStaysUntilABackupHasWhatItDelivered(t *testing.T) {
	withoutRace(t)
	scene(t, func(w *world) {
		w.opts.Days = 4
		time.Sleep(2 * soundAfter)
		w.notice()
		w.copyGate(w.gates[0])
		if !w.copied() {
			t.Fatal("the gate was not copied")
		}
		w.restoreServer()
		for _, g := range w.gates {
			w.crowd.visitorWho(g, func(tk *ticket) { w.crowd.show(g, tk, tk.text, 3*time.Second) })
		}
		time.Sleep(lookEvery)
		w.uncover(w.gates[1])
		w.must(errors.Join(w.live(), w.settle(), w.recovered(), w.takeStock()))
		if w.copied() {
			t.Error("the copy is never taken away")
		}
	})
}

// A gate is revoked with visits that it has not delivered, and nothing else happens before the end: an operator has it enrolled
// anew, and it delivers them.
func TestAGateThatIsRevokedAtTheEndDelivers(t *testing.T) {
	scene(t, func(w *world) {
		g := w.gates[0]
		time.Sleep(2 * soundAfter)
		g.weather.change(func(c *conditions) { c.down = true })
		w.notice()
		w.crowd.visitorWho(g, func(tk *ticket) { w.crowd.show(g, tk, tk.text, 3*time.Second) })
		if w.revoke(g); !g.revoked || g.journal.Stats().Backlog != 1 {
			t.Fatal("the gate is not revoked, or has delivered")
		}
		w.must(errors.Join(w.settle(), w.recovered(), w.takeStock()))
	})
}

// A gate that has been without network and visitors for a month has one source of time. That and the running time since others
// agreed end what is undelivered; after a restart nothing does on the word of the one source, and that it is kept past its
// end is an alarm, until visitors of two issuers bear the time out.
func TestWhatAGateKeepsPastItsEndIsAnAlarm(t *testing.T) {
	withoutRace(t)
	for name, restart := range map[string]bool{"it has run": false, "it was restarted": true} {
		t.Run(name, func(t *testing.T) {
			scene(t, func(w *world) { keepForAMonth(t, w, restart) })
		})
	}
}

func keepForAMonth(t *testing.T, w *world, restart bool) {
	g := w.gates[0]
	time.Sleep(time.Hour)
	g.weather.change(func(c *conditions) { c.down = true })
	visits := func(n int) {
		for range n {
			w.crowd.visitorWho(g, func(tk *ticket) { w.crowd.show(g, tk, tk.text, 3*time.Second) })
		}
	}
	wants := func(when string, destroyed uint64, alarm bool) {
		t.Helper()
		if s := g.journal.Stats(); s.Destroyed != destroyed || slices.Contains(g.board.Codes(), health.Overdue) != alarm {
			t.Errorf("%s: %d are destroyed, want %d; want an alarm: %v, there are %v", when, s.Destroyed, destroyed, alarm, g.board.Codes())
		}
	}
	visits(6)
	if restart {
		g.stop()
		w.must(g.start())
	}
	time.Sleep(28 * 24 * time.Hour)
	wants("within the 28 days", 0, false)
	time.Sleep(36 * time.Hour)
	if !restart {
		wants("after them", 6, false)
		return
	}
	wants("after them", 0, true)
	visits(12)
	time.Sleep(time.Hour)
	wants("once others bear the time out", 6, false)
}

// A gate that is without a network for weeks seals to the key it has, while its server takes one after the other into use.
// What it brings at last, longer after than keys are kept, is taken and opened.
func TestAGateThatWasAwayForWeeksSealsToAKeyThatIsKept(t *testing.T) {
	scene(t, func(w *world) {
		g := w.gates[0]
		time.Sleep(time.Hour)
		g.weather.change(func(c *conditions) { c.down = true })
		w.notice()
		const away, visited = 34, 24 // days
		for n := range away {
			if n >= away-visited {
				w.crowd.visitorWho(g, func(tk *ticket) { w.crowd.show(g, tk, tk.text, 3*time.Second) })
			}
			w.rotateSealKey()
			time.Sleep(24 * time.Hour)
		}
		g.weather.change(func(c *conditions) { c.down = false })
		w.must(errors.Join(w.settle(), w.takeStock()))
		if w.report.Stored != visited {
			t.Errorf("%d of %d visits are stored", w.report.Stored, visited)
		}
		if w.report.Contacts == 0 {
			t.Error("nobody is found")
		}
	})
}
