package firmware

import (
	"testing"
	"time"
)

func TestPresentations(t *testing.T) {
	start := time.Unix(1_600_000_000, 0)
	p := newPresentations()
	for _, s := range []struct {
		rule   string
		after  time.Duration // since the start
		frame  string
		begins bool
	}{
		{"the first frame begins one", 0, "a", true},
		{"another code begins its own", time.Second, "b", true},
		{"the same bytes within the gap are held", 2400 * time.Millisecond, "b", false},
		{"what was forgotten begins anew", 2500 * time.Millisecond, "c", true},
		{"held once more, just within the gap", 4899 * time.Millisecond, "b", false},
		{"out of sight for the gap, though not yet swept, begins anew", 4999 * time.Millisecond, "a", true},
		{"a code out of sight since before the last sweep's gap ended", 5000 * time.Millisecond, "c", true},
		{"not swept since, but the gap has passed", 7399 * time.Millisecond, "b", true},
		{"and is then held again", 7450 * time.Millisecond, "b", false},
	} {
		if got := p.begins([]byte(s.frame), start.Add(s.after)); got != s.begins {
			t.Errorf("%s: %v, want %v", s.rule, got, s.begins)
		}
	}
}
