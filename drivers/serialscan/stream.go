package serialscan

import (
	"bytes"
	"cmp"
	"strings"
	"time"

	"github.com/kipass/kipass/drivers/framing"
)

// stream is the decoder of families that send codes as plain bytes with a terminator and put their answers in between
// without any mark: the answers expected are taken out first, wherever they stand.
type stream struct {
	framer   *framing.Framer
	dialogue *dialogue
	frame    func(framing.Frame)
	gap      time.Duration // how long bytes that may be the beginning of an answer are held back
	held     []byte
	heldAt   time.Time
	answered time.Time // when the last byte so far was the end of an answer; zero otherwise
}

func newStream(rule framing.Rule, d *dialogue, frame func(framing.Frame)) decoder {
	return &stream{framer: framing.New(rule), dialogue: d, frame: frame, gap: cmp.Or(rule.Gap, framing.DefaultGap)}
}

func (s *stream) push(at time.Time, p []byte) {
	if !s.answered.IsZero() {
		if at.Sub(s.answered) < answerWait && len(p) > 0 && strings.IndexByte(s.dialogue.trail, p[0]) >= 0 {
			p = p[1:]
		}
		s.answered = time.Time{}
	}
	if len(s.held) == 0 && !s.dialogue.expecting(at) {
		s.framer.Push(at, p, s.frame)
		return
	}
	b := append(s.held, p...)
	s.held = nil
	for from := 0; ; {
		if from == len(b) || !s.dialogue.expecting(at) {
			s.framer.Push(at, b, s.frame)
			return
		}
		switch n, v := s.dialogue.match(at, b[from:]); v {
		case foreign:
			from++
		case partial:
			s.framer.Push(at, b[:from], s.frame)
			s.held, s.heldAt = bytes.Clone(b[from:]), at
			return
		default:
			s.framer.Push(at, b[:from], s.frame)
			if b, from = b[from+n:], 0; len(b) == 0 {
				s.answered = at
				return
			}
		}
	}
}

func (s *stream) idle(now time.Time) {
	if len(s.held) > 0 && now.Sub(s.heldAt) >= s.gap {
		held := s.held
		s.held = nil
		s.framer.Push(s.heldAt, held, s.frame)
	}
	s.framer.Idle(now, s.frame)
}
