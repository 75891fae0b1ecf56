package loglimit

import (
	"fmt"
	"testing"
	"time"
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
	if n != maxKinds+1 || len(l.kinds) != maxKinds+1 {
		t.Errorf("%d let through, %d remembered", n, len(l.kinds))
	}
}
