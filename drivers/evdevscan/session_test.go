package evdevscan

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/drivers/framing"
)

// script plays events to a session, each a millisecond after the one before.
type script struct {
	session
	now  time.Time
	at   time.Duration
	held keySet
	got  []string // codes
}

func play(timed bool) *script {
	s := &script{now: time.Unix(1000, 0), at: time.Hour}
	s.session = session{
		framer: framing.New(framing.Rule{Gap: 50 * time.Millisecond}), timed: timed,
		frame: func(f framing.Frame) { s.got = append(s.got, string(f.Data)) },
	}
	s.session.held = func() (*keySet, error) { held := s.held; return &held, nil }
	return s
}

func (s *script) put(t *testing.T, list ...event) {
	t.Helper()
	for i := range list {
		s.at += time.Millisecond
		list[i].at = s.at
	}
	s.now = s.now.Add(time.Millisecond)
	if err := s.push(s.now, list); err != nil {
		t.Fatal(err)
	}
}

func (s *script) write(t *testing.T, text string) {
	t.Helper()
	s.put(t, typed([]byte(text))...)
}

func (s *script) want(t *testing.T, codes ...string) {
	t.Helper()
	if !slices.Equal(s.got, codes) {
		t.Errorf("got %q, want %q", s.got, codes)
	}
}

var (
	lost   = event{kind: evSyn, code: synDropped}
	report = event{kind: evSyn, code: synReport}
)

func key(code uint16, value int32) event { return event{kind: evKey, code: code, value: value} }

func TestLostEventsTearTheCode(t *testing.T) {
	t.Run("up to its end", func(t *testing.T) {
		s := play(true)
		s.write(t, "FIRST\rTO")
		s.put(t, lost, key(keyQ, pressed), report)
		s.write(t, "RN\rNEXT\r")
		s.want(t, "FIRST", "TO\x1aRN", "NEXT")
	})
	t.Run("up to a silence", func(t *testing.T) {
		s := play(true)
		s.write(t, "TO")
		s.put(t, lost, report)
		s.idle(s.due())
		s.write(t, "NEXT\r")
		s.want(t, "TO\x1a", "NEXT")
	})
	t.Run("its report and what was read with it is not looked at", func(t *testing.T) {
		s := play(true)
		s.put(t, lost, key(keyEnter, pressed), key(keyLeftShift, pressed), report, key(keyEnter, pressed), key(keyLeftShift, pressed))
		s.write(t, "tail\rnext\r")
		s.want(t, "\x1atail", "next")
	})
	t.Run("and its report may come later", func(t *testing.T) {
		s := play(true)
		s.write(t, "TO")
		s.put(t, lost)
		s.put(t, key(keyEnter, pressed))
		s.put(t, report)
		s.write(t, "RN\rNEXT\r")
		s.want(t, "TO\x1aRN", "NEXT")
	})
	t.Run("the keys held are asked for", func(t *testing.T) {
		s := play(true)
		s.held.add(keyRightShift)
		s.put(t, key(keyCapsLock, pressed), lost, report)
		s.write(t, "\ra\r")
		s.put(t, key(keyRightShift, released))
		s.write(t, "b\r")
		s.want(t, "A", "b")
	})
	t.Run("a device that does not say is lost", func(t *testing.T) {
		s := play(true)
		gone := errors.New("gone")
		s.session.held = func() (*keySet, error) { return nil, gone }
		if err := s.push(s.now, []event{lost, report}); !errors.Is(err, gone) {
			t.Errorf("got %v", err)
		}
	})
}

func TestACodeUnderWayAtTheBeginningIsTorn(t *testing.T) {
	s := play(true)
	s.held.add(keyA)
	if err := s.begin(s.now); err != nil {
		t.Fatal(err)
	}
	s.write(t, "TAIL\rNEXT\r")
	s.want(t, "\x1aTAIL", "NEXT")

	s = play(true)
	if err := s.begin(s.now); err != nil {
		t.Fatal(err)
	}
	s.write(t, "WHOLE\r")
	s.want(t, "WHOLE")
}

func TestTheEventsClockPartsCodes(t *testing.T) {
	s := play(true)
	s.write(t, "ONE")
	s.at += 50 * time.Millisecond
	s.write(t, "TWO")
	s.at += time.Hour // asleep in the middle of a code
	s.write(t, "REST\r")
	s.want(t, "ONE", "TWO", "REST")

	s = play(false)
	s.write(t, "ONE")
	s.at += time.Hour // of a clock that steps
	s.write(t, "TWO\r")
	s.want(t, "ONETWO")
}

func TestSilencePartsCodes(t *testing.T) {
	s := play(true)
	if !s.due().IsZero() {
		t.Errorf("a silence is due at %s before any key", s.due())
	}
	s.write(t, "ONE")
	if got := s.due().Sub(s.now); got != 50*time.Millisecond {
		t.Errorf("a silence is due after %s, want 50ms", got)
	}
	s.idle(s.due().Add(-1))
	s.want(t)
	s.idle(s.due())
	s.want(t, "ONE")
}

func TestCapsLockHoldsForOneCode(t *testing.T) {
	s := play(true)
	s.put(t, key(keyCapsLock, pressed), key(keyCapsLock, released))
	s.write(t, "kip1\r")
	s.at += restAfter
	s.write(t, "KIP1\r") // the second Caps Lock was lost
	s.want(t, "KIP1", "KIP1")
}

// FuzzSession holds that after whatever events, a rest and a silence later, a code comes through undamaged, and that no
// frame is too long.
func FuzzSession(f *testing.F) {
	f.Add(layout32.encode(layout32.encode(nil, lost), key(keyEnter, pressed)))
	f.Add([]byte(strings.Repeat("\x01\x00\x1e\x00\x01\x00\x00\x00", 8)))
	f.Fuzz(func(t *testing.T, in []byte) {
		s := play(true)
		cut := events{layout: layout32}
		cut.push(in, func(e event) {
			if err := s.push(s.now, []event{e}); err != nil {
				t.Fatal(err)
			}
		})
		s.put(t, report) // the end of what may have been lost
		for code := range modifierOf {
			s.put(t, key(code, released))
		}
		s.at = max(s.at, s.lastAt) + time.Hour
		s.idle(s.last.Add(time.Hour))
		s.got = nil
		s.write(t, "KIP1:$%\r")
		s.want(t, "KIP1:$%")
	})
}
