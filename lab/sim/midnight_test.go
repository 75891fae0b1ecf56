package sim

import (
	"testing"
	"time"

	"github.com/kipass/kipass/protocol/day"
)

// Codes are shown on both sides of midnight. On the last day on which the visit server has a visit its issuer opens the
// code, and the day after neither of them has anything of it.
func TestAVisitAndItsCodeEndTogether(t *testing.T) {
	withoutRace(t)
	scene(t, func(w *world) {
		g, midnight := w.gates[0], (day.Of(time.Now()) + 1).Start()
		until := func(since time.Duration) { time.Sleep(time.Until(midnight.Add(since))) }
		holders := w.crowd.holders // the first and the last have different issuers
		first, last := holders[:2], holders[len(holders)-2:]
		fetch := func(h *holder) *ticket {
			tk, err := w.crowd.fetch(h)
			w.must(err)
			return tk
		}
		show := func(tk *ticket) { w.crowd.show(g, tk, tk.text, 500*time.Millisecond) }

		until(-60 * time.Second)
		before := fetch(first[0])
		until(-50 * time.Second)
		show(before)
		until(-14 * time.Second)
		ahead := fetch(last[0])
		until(-8 * time.Second)
		across, unproven := fetch(first[1]), fetch(last[1])
		until(-1500 * time.Millisecond)
		g.clock.set(1900*time.Millisecond, true) // for this gate it is past midnight
		show(ahead)
		g.clock.set(0, true)
		until(2 * time.Second)
		show(across)
		until(4 * time.Second)
		g.clock.set(3*time.Hour, false) // it does not know the time
		show(unproven)
		g.clock.set(0, true)
		if w.report.Green != 4 {
			t.Fatalf("%d of 4 visitors are let in", w.report.Green)
		}

		known := func(at time.Time, want int) {
			t.Helper()
			time.Sleep(time.Until(at))
			list, _, err := w.authority.inquire(midnight.Add(-time.Hour), midnight.Add(time.Hour))
			w.must(err)
			if len(list.Contacts) != want || len(list.Unknown) != 0 || !list.Complete {
				t.Errorf("on %v %d contacts, and %d visits nobody can tell of; want %d and none",
					day.Of(at), len(list.Contacts), len(list.Unknown), want)
			}
		}
		today := day.Of(midnight)
		const destroyed = 2 * lookSeldom // after it is due
		known((today - 1).DestroyAt().Add(-time.Hour), 4)
		known((today - 1).DestroyAt().Add(destroyed), 3)
		known(today.DestroyAt().Add(-time.Hour), 3)
		known(today.DestroyAt().Add(destroyed), 0)
		for party, left := range map[string][]day.Day{
			"the visit server": w.visits.days(), "issuer naver": w.issuers[0].days(), "issuer pass": w.issuers[1].days(),
		} {
			if len(left) != 0 {
				t.Errorf("%s still has %v", party, left)
			}
		}
	})
}
