package firmware

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/firmware/health"
)

// Each code is shown so long after the last. The fault is looked for after the last of them, and after one more that is
// admitted.
func TestAMinuteOfRefusalsIsAFault(t *testing.T) {
	type shown struct {
		after time.Duration
		what  func(s *fixture, later time.Duration) []byte // a code that is shown so much later
	}
	old := func(s *fixture, later time.Duration) []byte { return s.code(s.key, time.Hour-later) }
	early := func(s *fixture, later time.Duration) []byte { return s.code(s.key, -time.Hour-later) }
	fresh := func(s *fixture, later time.Duration) []byte { return s.code(s.key, -later) }
	strange := func(s *fixture, later time.Duration) []byte { return s.code(s.strange, -later) }
	barcode := func(*fixture, time.Duration) []byte { return []byte("8801234567890") }
	for rule, c := range map[string]struct {
		shown  []shown
		detail string // empty: no fault
	}{
		"three old codes in a minute":           {[]shown{{1, old}, {30, old}, {30, old}}, "expired"},
		"whatever they are refused for":         {[]shown{{1, old}, {30, early}, {30, strange}}, "expired, not-yet-valid, unknown-issuer"},
		"in less than a minute it may be one":   {[]shown{{1, old}, {10, old}, {10, old}}, ""},
		"two may be one visitor's":              {[]shown{{1, old}, {90, old}}, ""},
		"other barcodes are no codes":           {[]shown{{1, barcode}, {30, barcode}, {30, old}, {30, barcode}}, ""},
		"one admitted between begins it anew":   {[]shown{{1, old}, {30, old}, {10, fresh}, {30, old}}, ""},
		"on a quiet day it takes as many codes": {[]shown{{1, old}, {3000, old}, {3000, old}}, "expired"},
	} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFixture(t)
				var whole time.Duration
				for _, x := range append(c.shown, shown{60, fresh}) {
					wait := x.after * time.Second
					whole += wait
					s.front.Script = append(s.front.Script, drivertest.Step{Wait: wait, Data: x.what(s, whole)})
				}
				go func() {
					time.Sleep(whole - 30*time.Second)
					s.wantRefusalFault(c.detail)
				}()
				s.play(whole + time.Second)
				s.wantRefusalFault("")
			})
		})
	}
}

func (s *fixture) wantRefusalFault(detail string) {
	s.t.Helper()
	shown := s.board.Shown()
	switch {
	case detail == "" && len(shown) == 0:
	case len(shown) == 1 && shown[0].Code == health.AllRefused && shown[0].Detail == detail && detail != "":
	default:
		s.t.Errorf("faults %+v, want all-refused %q", shown, detail)
	}
}
