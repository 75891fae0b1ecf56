package hil

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// The moment of a cut is drawn from what a machine does: whatever its speed, some cuts fall into the start, some come with
// the first visit acknowledged and some after many.
func TestCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const starts = 3 * time.Second
		p := &powerCuts{rng: rand.New(rand.NewPCG(1, 2)), start: starts}
		early, fewest, most := 0, maxAcked, 0
		for range 2000 {
			began := time.Now()
			c := p.newCut(false)
			if c.meant {
				early++
				<-c.timer.C
				if after := time.Since(began); after > time.Duration(beyondTheEnd*float64(starts)) {
					t.Fatalf("a cut in the start came after %v of %v", after, starts)
				}
				continue
			}
			c.progress() // the journal was opened
			acked := 0
			for ; !c.meant; acked++ {
				if acked == maxAcked {
					t.Fatalf("the power is still on after %d visits", acked)
				}
				c.progress()
			}
			<-c.timer.C
			if pause := time.Since(began); pause >= maxPause {
				t.Fatalf("the power went %v after the last visit, want less than %v", pause, maxPause)
			}
			fewest, most = min(fewest, acked), max(most, acked)
		}
		if early < 150 || early > 250 || fewest != 0 || most != maxAcked-1 {
			t.Errorf("%d of 2000 cuts in the start, the others after %d to %d visits", early, fewest, most)
		}
		last := p.newCut(true)
		for range 2 * maxAcked {
			last.progress()
		}
		if last.meant {
			t.Error("the last machine's power is cut")
		}
		last.timer.Stop()
	})
}
