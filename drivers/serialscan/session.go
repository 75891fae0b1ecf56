package serialscan

import (
	"time"

	"github.com/kipass/kipass/drivers/framing"
)

// retrigger is how often a reader that the gate triggers is triggered anew: readers end a reading by themselves after a
// while. A trigger during a reading does nothing.
const retrigger = 2 * time.Second

// session is one connection to a reader, from open to loss. It lives in the goroutine of Run.
type session struct {
	r        *Reader
	dialogue *dialogue
	decoder  decoder
	active   bool      // what the reader was last told
	renewed  time.Time // when it was last told everything
	pulled   time.Time // when it was last triggered
	lastByte time.Time // when it came
}

func newSession(r *Reader, l *line, frame func(framing.Frame)) *session {
	s := &session{r: r}
	s.dialogue = &dialogue{write: l.write, settled: s.answered, reset: func() { s.renewed = time.Time{} }, trail: r.fam.trail}
	s.decoder = r.fam.newDecoder(r.opts.Framing, s.dialogue, func(f framing.Frame) {
		s.pulled = time.Time{}
		frame(f)
	})
	return s
}

// tick sends what is due; it is called at least every readWait.
func (s *session) tick(now time.Time) {
	active := !s.r.inactive.Load()
	switch {
	case s.renewed.IsZero(), active != s.active:
		s.renew(now, active)
	case s.r.opts.Recheck > 0 && now.Sub(s.renewed) >= s.r.opts.Recheck && now.Sub(s.lastByte) >= answerWait && !s.dialogue.busy():
		s.renew(now, active)
	case active && s.r.opts.Trigger == TriggerHost && now.Sub(s.pulled) >= retrigger && !s.dialogue.busy():
		s.pulled = now
		s.dialogue.ask(s.r.fam.commands(doTrigger))
	}
	s.dialogue.tick(now)
}

func (s *session) renew(now time.Time, active bool) {
	s.active, s.renewed, s.pulled = active, now, now
	s.dialogue.ask(s.r.fam.plan(s.r.opts, active))
}

func (s *session) push(now time.Time, p []byte) {
	s.lastByte = now
	s.decoder.push(now, p)
}

func (s *session) idle(now time.Time) { s.decoder.idle(now) }

// answered notes what became of a command.
func (s *session) answered(p purpose, v verdict) {
	s.r.silent.Store(v == partial)
	if v != accepted {
		s.r.opts.Logger.Debug("reader did not accept a command", "reader", s.r.opts.Name, "command", string(p), "refused", v == refused)
	}
}
