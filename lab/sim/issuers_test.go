package sim

import (
	"testing"
	"time"

	"github.com/kipass/kipass/issuer"
)

// An issuer's alarms begin with what is wrong and end with it: each is also held against the truth by every seed.
func TestAnIssuersAlarmsBeginAndEnd(t *testing.T) {
	scene(t, func(w *world) {
		i := w.issuers[0]
		says := func(when string, want map[string]float64) {
			t.Helper()
			w.troubled()
			w.issuerWarnings(i)
			m := readMetrics(i.ask(issuer.PathMetrics).Body.String())
			for name, n := range want {
				if m[name] != n {
					t.Errorf("%s: %s is %v, want %v", when, name, m[name], n)
				}
			}
		}
		const issuing, doubt, damaged = "kipass_issuer_issuing", "kipass_issuer_clock_in_doubt", "kipass_issuer_damaged_days"
		w.crowd.visitorWho(w.gates[0], func(*ticket) {})
		w.crowd.visitorWho(w.gates[0], func(*ticket) {})
		time.Sleep(30 * time.Hour)
		says("all is well", map[string]float64{issuing: 1, doubt: 0, damaged: 0})
		i.space.full.Store(true)
		says("its disk is full", map[string]float64{issuing: 0})
		i.space.full.Store(false)
		says("there is space", map[string]float64{issuing: 1})
		i.clock.set(3*24*time.Hour, true)
		says("its clock is ahead", map[string]float64{doubt: 1})
		i.clock.set(-3*24*time.Hour, true)
		says("its clock is behind, before its key", map[string]float64{doubt: 1, issuing: 0})
		i.clock.set(0, true)
		says("its clock is right", map[string]float64{doubt: 0})
		i.close()
		i.clock.set(keyLife, true)
		w.check("the issuer two years on", i.open(w))
		says("its key has ended", map[string]float64{issuing: 0})
		i.clock.set(0, true)
		says("it is now", map[string]float64{issuing: 1})
		for _, d := range i.days() {
			w.blot(i, d)
		}
		time.Sleep(25 * time.Hour)
		says("its days are damaged", map[string]float64{damaged: float64(len(i.days()))})
	})
}
