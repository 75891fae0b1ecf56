package serialscan

import (
	"bytes"
	"slices"
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
	write   func([]byte) error
	settled func(p purpose, v verdict) // called for each command when its fate is known; partial means no answer came
	reset   func()                     // called when the reader shows that it has lost its volatile settings
	trail   string                     // bytes of which one may follow an answer, alone

	queue   []command
	current *command
	sent    time.Time
	tries   int
	owed    []owing  // one for each sending that may still be answered, oldest first
	stray   []owing  // one for each command that whoever held the line before may have sent too, and left unanswered
	said    []string // commands that were sent in this connection, each once
}

// owing is an answer that may still come.
type owing struct {
	to    *command
	until time.Time
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
		d.say(now)
		if next.reply == nil {
			d.current = nil
		}
	}
}

func (d *dialogue) say(now time.Time) {
	d.sent = now
	d.tries++
	if answer := (owing{d.current, now.Add(answerLate)}); d.current.reply != nil {
		d.owed = append(d.owed, answer)
		if kind := string(d.current.bytes); !slices.Contains(d.said, kind) {
			d.said, d.stray = append(d.said, kind), append(d.stray, answer)
		}
	}
	// A failed write is no news: a device that is gone is noticed by reading, one that is stuck by its silence.
	_ = d.write(d.current.bytes)
}

// expecting tells whether answers may come.
func (d *dialogue) expecting(now time.Time) bool {
	for _, all := range []*[]owing{&d.owed, &d.stray} {
		for len(*all) > 0 && now.After((*all)[0].until) {
			*all = (*all)[1:]
		}
	}
	return len(d.owed)+len(d.stray) > 0
}

// match looks for an answer at the beginning of b and returns its length. A command that was repeated, and then perhaps
// given up, may be answered as often, and late, and one more answer may be to an earlier program: those are found among the
// codes too, but settle nothing.
func (d *dialogue) match(now time.Time, b []byte) (int, verdict) {
	i, n, v := find(d.owed, b)
	if v != foreign && v != partial {
		d.answered(now, i, v, b[:n])
		return n, v
	}
	i, n, late := find(d.stray, b)
	switch late {
	case foreign:
		return 0, v
	case partial:
		return 0, partial
	}
	d.stray = slices.Delete(d.stray, i, i+1)
	return n, late
}

// find looks for the first answer in all that b begins with, and returns its place and its length in b. The verdict is
// partial if b is perhaps the beginning of one.
func find(all []owing, b []byte) (i, n int, best verdict) {
	for i := range all {
		switch n, v := all[i].to.reply(b); v {
		case foreign:
		case partial:
			best = partial
		default:
			return i, n, v
		}
	}
	return 0, 0, best
}

// answer takes an answer that says by itself that it is one; it is to the command under way.
func (d *dialogue) answer(now time.Time, v verdict, b []byte) {
	for i := range d.owed {
		if d.owed[i].to == d.current {
			d.answered(now, i, v, b)
			return
		}
	}
}

func (d *dialogue) answered(now time.Time, i int, v verdict, b []byte) {
	to := d.owed[i].to
	d.owed = slices.Delete(d.owed, i, i+1)
	switch {
	case to != d.current:
	case v == damaged && d.tries < attempts:
		d.say(now)
	case v == damaged:
		d.settle(now, partial, nil)
	default:
		d.settle(now, v, b)
	}
}

func (d *dialogue) settle(now time.Time, v verdict, b []byte) {
	done := d.current
	d.current = nil
	d.settled(done.purpose, v)
	if v == accepted && done.then != nil {
		d.queue = append(done.then(b), d.queue...)
	}
	d.tick(now)
}
