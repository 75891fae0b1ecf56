package sim

import (
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"
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
				for range 6 {
					w.crowd.visitorWho(g, func(tk *ticket) { w.crowd.show(g, tk, tk.text, 3*time.Second) })
				}
				g.stop()
				g.clock.set(40*24*time.Hour, synced)
				g.clock.battery = true
				g.clock.boot()
				w.must(g.start())
				time.Sleep(2 * time.Hour)
				if s := g.journal.Stats(); s.Destroyed != 0 || s.Backlog != 6 {
					t.Errorf("%d undelivered visits are left and %d destroyed, of 6", s.Backlog, s.Destroyed)
				}
				g.clock.set(0, true)
				w.must(w.settle())
				if w.report.Stored != 6 {
					t.Errorf("%d of 6 visits are stored", w.report.Stored)
				}
			})
		})
	}
}
