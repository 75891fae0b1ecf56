package testkit

import (
	"testing"
	"time"
)

const (
	askEvery = 10 * time.Millisecond
	// hung is when a test is given up. No machine is so slow: it is only ever used up by a failure.
	hung = 5 * time.Minute
)

// Eventually waits until holds returns true, for things outside the test that cannot say themselves when they are ready:
// a device, a program, a page. It ends the test when that has not come about after minutes; a test that needs to know how
// long something takes uses synthetic time (testing/synctest) instead.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ask := time.NewTicker(askEvery)
	defer ask.Stop()
	for began := time.Now(); !holds(); <-ask.C {
		if time.Since(began) > hung {
			t.Fatalf("%s: not after %v", what, hung)
		}
	}
}

// Soon returns what c delivers, or what it delivers when it is closed, and ends the test when that has not come after
// minutes.
func Soon[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	late := time.NewTimer(hung)
	defer late.Stop()
	select {
	case v := <-c:
		return v
	case <-late.C:
		t.Fatalf("%s: not after %v", what, hung)
		panic("unreachable")
	}
}
