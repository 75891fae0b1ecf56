package serialscan

import (
	"bytes"
	"time"
)

const (
	answerWait = 500 * time.Millisecond // how long an answer may take before the command is sent again
	attempts   = 3                      // how often a command is sent before it is given up
	answerLate = 3 * time.Second        // how long after its last sending an answer is still looked for among the codes
)

// verdict is what a matcher makes of the bytes it was shown.
type verdict uint8

const (
	foreign  verdict = iota // not an answer
	partial                 // perhaps the beginning of one
	accepted                // the answer yes
	refused                 // the answer no
	damaged                 // an answer that did not arrive whole: the command is to be sent again
)

// matcher looks for an answer at the beginning of b and returns its length.
type matcher func(b []byte) (int, verdict)

// exactly returns a matcher for the answer want, nil if there is no such answer.
func exactly(want []byte, v verdict) matcher {
	if len(want) == 0 {
		return nil
	}
	return func(b []byte) (int, verdict) {
		if bytes.HasPrefix(b, want) {
			return len(want), v
		}
		if bytes.HasPrefix(want, b) {
			return 0, partial
		}
		return 0, foreign
	}
}

// either returns a matcher for whatever one of ms matches, nil if there are none.
func either(ms ...matcher) matcher {
	var some []matcher
	for _, m := range ms {
		if m != nil {
			some = append(some, m)
		}
	}
	if len(some) == 0 {
		return nil
	}
	return func(b []byte) (int, verdict) {
		best := foreign
		for _, m := range some {
			switch n, v := m(b); v {
			case accepted, refused, damaged:
				return n, v
			case partial:
				best = partial
			}
		}
		return 0, best
	}
}

// command is one thing to tell the reader.
type command struct {
	purpose purpose
	bytes   []byte
	reply   matcher                       // nil if no answer comes
	then    func(answer []byte) []command // what follows a yes, sent next; may be nil
}

// dialogue sends one command at a time, waits for its answer and repeats it. Its owner is the goroutine of the session.
type dialogue struct {
	write func([]byte) error
	heard func(p purpose, v verdict) // called for each command when its fate is known; partial means no answer came
	reset func()                     // called when the reader shows that it has lost its volatile settings
	trail string                     // bytes of which one may follow an answer, alone

	queue   []command
	current *command
	sent    time.Time
	tries   int
	owed    int     // answers that may still come
	last    matcher // what they look like
}

// ask replaces what is still to be said by cmds. The command under way is not interrupted.
func (d *dialogue) ask(cmds []command) { d.queue = cmds }

// busy tells whether something is under way or waiting.
func (d *dialogue) busy() bool { return d.current != nil || len(d.queue) > 0 }

// tick sends what is due.
func (d *dialogue) tick(now time.Time) {
	if d.current != nil && now.Sub(d.sent) >= answerWait {
		if d.tries < attempts {
			d.say(now)
			return
		}
		d.settle(now, partial, nil)
	}
	for d.current == nil && len(d.queue) > 0 {
		next := d.queue[0]
		d.queue = d.queue[1:]
		d.current, d.tries = &next, 0
		if next.reply != nil {
			d.last, d.owed = next.reply, 0
		}
		d.say(now)
		if next.reply == nil {
			d.current = nil
		}
	}
}

func (d *dialogue) say(now time.Time) {
	d.sent = now
	d.tries++
	if d.current.reply != nil {
		d.owed++
	}
	// A failed write is no news: a device that is gone is noticed by reading, one that is stuck by its silence.
	_ = d.write(d.current.bytes)
}

// expecting returns the matcher for the answers that may come, nil if there are none.
func (d *dialogue) expecting(now time.Time) matcher {
	if d.owed == 0 || now.Sub(d.sent) > answerLate {
		return nil
	}
	return d.last
}

// answer takes an answer that arrived.
func (d *dialogue) answer(now time.Time, v verdict, b []byte) {
	if v == damaged {
		d.again(now)
		return
	}
	d.owed = max(0, d.owed-1)
	if d.current != nil && d.current.reply != nil {
		d.settle(now, v, b)
	}
}

// again sends the current command once more, as a reader asks for that received it damaged.
func (d *dialogue) again(now time.Time) {
	if d.current == nil {
		return
	}
	d.owed = max(0, d.owed-1)
	if d.tries < attempts {
		d.say(now)
		return
	}
	d.settle(now, partial, nil)
}

func (d *dialogue) settle(now time.Time, v verdict, b []byte) {
	done := d.current
	d.current = nil
	d.heard(done.purpose, v)
	if v == accepted && done.then != nil {
		d.queue = append(done.then(b), d.queue...)
	}
	d.tick(now)
}
