package evdevscan

import (
	"time"

	"github.com/kipass/kipass/drivers/framing"
)

// restAfter is the silence after which another code is sure to begin.
const restAfter = 500 * time.Millisecond

// session turns the events of one device, from open to loss, into frames. It lives in the goroutine of Run.
type session struct {
	framer *framing.Framer
	frame  func(framing.Frame)
	held   func() (*keySet, error) // the keys that are held now; events that came before must be ignored after it
	timed  bool                    // events bear a clock that never steps

	keys    keyboard
	dropped bool          // events were lost, and the rest of their report is still to come
	last    time.Time     // when the framer was last given something
	lastAt  time.Duration // when the last key went down or up, by the events' clock; 0 before the first
}

// begin takes on the keys that are held. If there are any the device is typing a code already, whose beginning went
// elsewhere.
func (s *session) begin(now time.Time) error {
	held, err := s.held()
	if err != nil {
		return err
	}
	s.keys.resume(held)
	if *held != (keySet{}) {
		s.framer.Spoil(now)
		s.last = now
	}
	return nil
}

// push takes events that were read together at the time given.
func (s *session) push(now time.Time, list []event) error {
	for _, e := range list {
		switch {
		case e.kind == evSyn && e.code == synDropped:
			s.dropped = true
		case e.kind == evSyn && e.code == synReport && s.dropped:
			// What else was read is older than the answer about the keys and would be taken for something that
			// happened after it. It belongs to the code that is dropped.
			return s.resume(now, e.at)
		case e.kind == evKey && !s.dropped:
			s.key(now, e)
		}
	}
	return nil
}

func (s *session) key(now time.Time, e event) {
	if e.value == repeated {
		return
	}
	var since time.Duration
	if s.lastAt != 0 {
		since = e.at - s.lastAt
	}
	s.lastAt = e.at
	if since >= restAfter {
		s.keys.rest()
	}
	// The events' own clock tells two codes from one with certainty, however late they are read.
	if silence := s.framer.Silence(); s.timed && silence > 0 && since >= silence {
		s.idle(s.last.Add(since))
	}
	if c, typed := s.keys.key(e.code, e.value); typed {
		s.last = now
		s.framer.Push(now, []byte{c}, s.frame)
	}
}

// resume begins anew after events were lost: the code in the making is dropped up to its end.
func (s *session) resume(now time.Time, at time.Duration) error {
	held, err := s.held()
	if err != nil {
		return err
	}
	s.dropped = false
	s.keys.resume(held)
	s.framer.Spoil(now)
	s.last, s.lastAt = now, at
	return nil
}

// due returns when a silence would end the code in the making; the zero time if there is none.
func (s *session) due() time.Time {
	if silence := s.framer.Silence(); silence > 0 {
		return s.last.Add(silence)
	}
	return time.Time{}
}

// idle is called when a wait for events ended without any.
func (s *session) idle(now time.Time) { s.framer.Idle(now, s.frame) }
