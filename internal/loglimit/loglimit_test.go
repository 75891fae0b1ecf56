package loglimit

import (
	"fmt"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
)

func TestOneOfAKindAnInterval(t *testing.T) {
	now := time.Unix(1000, 0)
	l := Limiter{Every: time.Minute, Now: func() time.Time { return now }}
	allowed := func(name string, n int) (ok int, skipped int) {
		for range n {
			if yes, s := l.Allow(name); yes {
				ok++
				skipped += s
			}
		}
		return ok, skipped
	}
	if ok, skipped := allowed("a", 10); ok != 1 || skipped != 0 {
		t.Errorf("%d of 10 let through, %d left out before", ok, skipped)
	}
	if ok, _ := allowed("b", 10); ok != 1 {
		t.Errorf("%d of another kind let through", ok)
	}
	now = now.Add(time.Minute)
	if ok, skipped := allowed("a", 5); ok != 1 || skipped != 9 {
		t.Errorf("a minute later %d let through, %d left out before", ok, skipped)
	}
	now = now.Add(-time.Hour) // a clock set back silences nothing for long
	if ok, skipped := allowed("a", 1); ok != 1 || skipped != 4 {
		t.Errorf("under a clock set back %d let through, %d left out before", ok, skipped)
	}
}

func TestKindsAreBounded(t *testing.T) {
	var l Limiter
	n := 0
	for i := range 10_000 {
		if ok, _ := l.Allow(fmt.Sprint(i)); ok {
			n++
		}
	}
	if n != defaultKinds+1 || len(l.kinds) != defaultKinds+1 {
		t.Errorf("%d let through, %d remembered", n, len(l.kinds))
	}
}

func TestABurst(t *testing.T) {
	now := time.Unix(1000, 0)
	l := Limiter{Burst: 3, Kinds: 2, Now: func() time.Time { return now }}
	count := func(name string, n int) (ok int) {
		for range n {
			if yes, _ := l.Allow(name); yes {
				ok++
			}
		}
		return ok
	}
	if n := count("a", 10); n != 3 {
		t.Errorf("%d of 10 let through, want 3", n)
	}
	count("b", 1)
	now = now.Add(time.Minute)
	if n := count("c", 10); n != 3 || len(l.kinds) != 2 {
		t.Errorf("of a kind in the place of one long over %d let through, %d kinds", n, len(l.kinds))
	}
}

func TestWarningsSayForHowManyTheyStand(t *testing.T) {
	now := time.Unix(1000, 0)
	l := Limiter{Now: func() time.Time { return now }}
	logger, log := testkit.NewLogger()
	for range 5 {
		l.Warn(logger, "an order was refused", "address", "10.0.0.1")
	}
	now = now.Add(time.Minute)
	l.Warn(logger, "an order was refused", "address", "10.0.0.1")
	if log.Count("level=WARN") != 2 || log.Count("count=5") != 1 {
		t.Errorf("logged:\n%s", log)
	}
}
