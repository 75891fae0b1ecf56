package uplink

import (
	"testing"
	"time"
)

// The transport reports the end of writing from a goroutine of its own, which on a busy machine may come after the
// answer or not at all. A time without that report would be centuries long, and the gate would believe the server's
// clock to be as far ahead.
func TestRoundTripIsBoundedWithoutTheEndOfWriting(t *testing.T) {
	start := time.Date(2020, 7, 1, 3, 4, 5, 0, time.UTC)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	for rule, c := range map[string]*struct {
		m    moments
		want time.Duration
	}{
		"from the last byte written":           {moments{connect: at(0), wrote: at(30), answer: at(50)}, 20 * time.Millisecond},
		"its end is reported after the answer": {moments{connect: at(0), wrote: at(60), answer: at(50)}, 50 * time.Millisecond},
		"its end is not reported":              {moments{connect: at(0), answer: at(50)}, 50 * time.Millisecond},
	} {
		if got := c.m.rtt(); got != c.want {
			t.Errorf("%s: %v, want %v", rule, got, c.want)
		}
	}
}
