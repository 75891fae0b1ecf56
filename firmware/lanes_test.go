package firmware

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/protocol/visit"
)

// Whatever happens to the front lane, the side lane's lights get its own cues alone, each at the moment its code was read.
func TestLanesDoNotDisturbEachOther(t *testing.T) {
	const codes = 5
	for _, c := range []struct {
		rule  string
		front func(s *fixture)
	}{
		{"the front lane's lights hang", func(s *fixture) {
			s.frontLight.Hang(true)
			s.front.Script = steps(s.code(s.key, 0), s.code(s.key, 0))
		}},
		{"the front lane's lights fail", func(s *fixture) {
			s.frontLight.Fail(fmt.Errorf("no such lamp: %w", drivers.ErrUnavailable))
			s.front.Script = steps(s.code(s.key, 0), s.code(s.key, 0))
		}},
		{"the front reader is lost again and again", func(s *fixture) {
			for range 5 {
				s.front.Script = append(s.front.Script, drivertest.Step{Wait: 10 * time.Millisecond, Err: drivers.ErrLost})
			}
		}},
		{"the front reader delivers a flood", func(s *fixture) {
			for i := range 2000 {
				s.front.Script = append(s.front.Script, drivertest.Step{Wait: 500 * time.Microsecond, Data: fmt.Appendf(nil, "garbage %d", i)})
			}
		}},
		{"a code is held before the front reader", func(s *fixture) {
			held := s.code(s.key, 0)
			for range 50 {
				s.front.Script = append(s.front.Script, drivertest.Step{Wait: 20 * time.Millisecond, Data: held})
			}
		}},
		{"the front lane admits at the same moments", func(s *fixture) {
			for range codes {
				s.front.Script = append(s.front.Script, drivertest.Step{Wait: 100 * time.Millisecond, Data: s.code(s.key, 0)})
			}
		}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFixture(t)
				c.front(s)
				for range codes {
					s.side.Script = append(s.side.Script, drivertest.Step{Wait: 100 * time.Millisecond, Data: s.code(s.key, 0)})
				}
				began := time.Now()
				s.play(5 * time.Second)
				cues := s.sideLight.Cues()
				if len(cues) != codes {
					t.Fatalf("the side lane's lights were shown %d cues, want %d", len(cues), codes)
				}
				for i, cue := range cues {
					if cue.Lane != "side" || cue.Light != drivers.Green || !cue.Relay {
						t.Errorf("cue %d: lane %q, %v, relay %v: want green and the relay for side", i, cue.Lane, cue.Light, cue.Relay)
					}
					if read, want := cue.Began.Sub(began), time.Duration(i+1)*100*time.Millisecond; read != want {
						t.Errorf("code %d was read at %v, want %v", i, read, want)
					}
					if shown, want := s.sideLight.ShownAt(i).Sub(cue.Began), time.Duration(0); shown != want {
						t.Errorf("cue %d was shown %v after its code was read", i, shown)
					}
				}
				for _, cue := range s.frontLight.Cues() {
					if cue.Lane != "front" {
						t.Errorf("the front lane's lights got a cue of %s", cue.Lane)
					}
				}
			})
		})
	}
}

// Lights are steadily red while nobody would be admitted, and dark again as soon as somebody would.
func TestGateOutOfServiceIsSeenFromAfar(t *testing.T) {
	for _, c := range []struct {
		rule        string
		change, end func(s *fixture)
	}{
		{"before it is enrolled", func(s *fixture) { s.gate.Use(nil) }, func(s *fixture) { s.gate.Use(s.journal) }},
		{"while it is revoked", func(s *fixture) { s.gate.Revoke(true) }, func(s *fixture) { s.gate.Revoke(false) }},
		{"while its clock is refused", func(s *fixture) { s.gate.opts.RefuseUntrusted = true; s.clock.set(visit.ClockUntrusted) }, func(s *fixture) { s.clock.set(visit.ClockSynced) }},
		{"while the disk is full", func(s *fixture) { s.board.Set(health.JournalFull, "", "") }, func(s *fixture) { s.board.Clear(health.JournalFull, "") }},
	} {
		t.Run(c.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFixture(t)
				s.board.Set(health.ReaderLost, "another", "") // a fault that does not mean out of service
				want := func(l drivers.Light) {
					t.Helper()
					if got := s.light.Idle(); got != l {
						t.Errorf("the lights' idle colour is %v, want %v", got, l)
					}
				}
				go func() {
					time.Sleep(1900 * time.Millisecond)
					want(drivers.Dark)
					c.change(s)
					time.Sleep(time.Second)
					want(drivers.Red)
					c.end(s)
					time.Sleep(time.Second)
					want(drivers.Dark)
				}()
				s.play(5 * time.Second)
			})
		})
	}
}
