package chain

import (
	"context"
	"fmt"
	"time"

	"github.com/kipass/kipass/protocol/visit"
)

// presentation is one visitor's turn: something shown until the gate has answered it.
type presentation struct {
	send    func() error // what the reader sends
	missed  func()       // told of every time that no outcome was seen; may be nil
	held    bool         // whether it is read several times
	unknown bool         // whether it is a code of an unknown issuer
}

// presented is what a presentation led to.
type presented struct {
	outcomes  []visit.Outcome // at least one; several only if the gate was started anew meanwhile
	tries     int             // how often it was sent
	began     time.Time       // when it was sent first
	restarted bool            // whether the gate was started anew meanwhile
	waited    time.Duration   // from the last byte sent to the last outcome
}

// excused returns the wanted outcome and those that the lab or the machine itself has brought about: under a disk at
// fault nobody is admitted who should not be, but somebody may be refused. genuine is a code that is, nil for anything
// else.
func (d *door) excused(p presented, want visit.Outcome, genuine *admitted) []visit.Outcome {
	right := []visit.Outcome{want}
	if p.restarted { // the gate that began to read the frame is gone, the next one reads the rest of it
		right = append(right, visit.NotACode)
	}
	if p.waited >= answerWithin || d.troubled.since(p.began) { // the first: of a busy machine's disk
		right = append(right, visit.OutOfService)
	}
	if genuine != nil && d.mayRefuse(p, genuine) {
		right = append(right, visit.Expired, visit.NotYetValid)
	}
	return right
}

// mayRefuse reports whether the gate could not yet know better than a clock at fault as it heard a genuine code. No
// wrong clock shuts a gate, but for one that NTP vouches for: that is believed up to an hour past what visitors' codes
// say. The visit server's is believed by a gate that has just begun, until two issuers contradict it with two codes
// each (firmware/clock).
func (d *door) mayRefuse(p presented, genuine *admitted) bool {
	sure := d.heard.add(d.viewer.begun(), genuine.phone.issuer.name, genuine.code.issued)
	return d.clock.Source == "kernel" || d.clock.Party == "visits" && (p.restarted || !sure)
}

// testimony is what one gate has heard of the time from genuine codes: when they were issued, in seconds since 1970, by
// issuer. Codes of one second say the same.
type testimony struct {
	gate   int
	issued map[string]map[int64]bool
}

// add takes in a code and reports whether the gate has now heard two codes of two issuers each.
func (t *testimony) add(gate int, issuer string, at time.Time) bool {
	if gate != t.gate {
		t.gate, t.issued = gate, map[string]map[int64]bool{}
	}
	if t.issued[issuer] == nil {
		t.issued[issuer] = map[int64]bool{}
	}
	t.issued[issuer][at.Unix()] = true
	sure := 0
	for _, times := range t.issued {
		if len(times) >= 2 {
			sure++
		}
	}
	return sure >= 2
}

// present sends until an outcome is seen, and returns when no other can come of what was sent.
func (d *door) present(ctx context.Context, of presentation) (p presented, err error) {
	for p.began = time.Now(); time.Since(p.began) < patience; {
		generation, err := d.attend(ctx)
		if err != nil {
			return p, err
		}
		for _, s := range d.viewer.rest() {
			d.truth.sawUncaused(s.outcome)
		}
		if err := of.send(); err != nil {
			return p, err
		}
		p.tries++
		sent, held := time.Now(), d.delays.sum()
		first, err := d.watch(ctx, generation, patience)
		if err != nil {
			return p, err
		}
		all := first
		if len(first) == 0 || d.frail && of.held {
			more, err := d.settle(ctx, of.unknown)
			if err != nil {
				return p, err
			}
			all = append(all, more...)
		}
		p.restarted = d.viewer.begun() != generation // the next may have answered before it counts as started
		for _, s := range all {
			p.outcomes, p.waited = append(p.outcomes, s.outcome), s.at.Sub(sent)
			if s.outcome.Green() && p.waited-(d.delays.sum()-held) > greenLimit {
				d.truth.sawLate()
			}
		}
		if len(all) > 0 {
			return p, nil
		}
		if of.missed != nil {
			of.missed()
		}
	}
	return p, fmt.Errorf("the gate showed nothing for %v; see the gate's log", patience)
}

// watch waits for an outcome. There is none if the gate is started anew: what it was to read is lost, or read by the
// next.
func (d *door) watch(ctx context.Context, generation int, within time.Duration) ([]seen, error) {
	for began := time.Now(); d.generation() == generation && time.Since(began) < within; {
		if s, ok := d.viewer.next(ctx, glance); ok {
			return []seen{s}, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return nil, nil
}

// settle waits until nothing that was shown to a gate before can have an outcome any more, and returns the outcomes
// until then. A gate answers in the order in which it reads, so the answer to a marker is behind all others. The
// marker is of another kind than what was shown, and is sent to a gate that is up: one that is lost with it is never
// answered.
func (d *door) settle(ctx context.Context, unknown bool) (all []seen, err error) {
	for began := time.Now(); time.Since(began) < patience; {
		generation, err := d.attend(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, d.viewer.rest()...)
		text, answer, err := d.marker(ctx, unknown)
		if err != nil {
			return nil, err
		}
		if err := d.steady(func() error {
			if d.generation() != generation {
				return nil
			}
			return d.line.send(ctx, []byte("\r"+text+"\r")) // what was cut off before is not to be taken for its beginning
		}); err != nil {
			return nil, err
		}
		for {
			next, err := d.watch(ctx, generation, patience)
			if err != nil {
				return nil, err
			}
			if len(next) == 0 {
				break
			}
			if next[0].outcome == answer {
				return all, nil
			}
			all = append(all, next...)
		}
	}
	return nil, fmt.Errorf("the gate showed nothing for %v; see the gate's log", patience)
}

// marker makes a code that is refused, and says as what.
func (d *door) marker(ctx context.Context, unknown bool) (text string, answer visit.Outcome, err error) {
	if unknown {
		text, err = d.forge(ctx)
		return text, visit.NotGenuine, err
	}
	text, err = d.unknown()
	return text, visit.UnknownIssuer, err
}

// attend waits until the lab looks at the screen of the gate that is up, and returns which gate that is.
func (d *door) attend(ctx context.Context) (generation int, err error) {
	for began := time.Now(); time.Since(began) < readyWithin; {
		if generation = d.generation(); d.viewer.looksAt() == generation {
			return generation, nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return 0, fmt.Errorf("the gate's screen did not answer within %v", readyWithin)
}
