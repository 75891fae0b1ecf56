package speaker

import "time"

const (
	cardPatience   = 500 * time.Millisecond // longest a card takes nothing, once it has played what it took
	serverPatience = 3 * time.Second        // a process, which may have 2 s of silence ahead and must itself have a turn
	maxPatience    = serverPatience         // what it said later than that nobody would wait for
	maxBurst       = 4 * time.Second        // of sound taken at once is believed to be played before more is taken
)

// pace judges whether a device that takes no sound at the moment still works. A device takes sound in bursts: what it
// took it plays before it takes more. Beyond that it may hesitate for as long as its kind is known to, or twice as long
// as it was itself seen to hesitate before it went on, up to maxPatience. Time in which this process was not there to
// look does not count.
type pace struct {
	patience time.Duration // of its kind
	longest  time.Duration // it was seen to hesitate
	since    time.Time     // from when on it has been expected to take something
	until    time.Time     // when it will have played what it took
}

// expect begins to wait for the device.
func (p *pace) expect(now time.Time) { p.since = now }

// took notes that the device went on, and how much sound it took since it was last looked at.
func (p *pace) took(sound time.Duration, now time.Time) {
	p.longest = max(p.longest, now.Sub(later(p.since, p.until)))
	p.since = now
	p.until = later(p.until, now).Add(sound)
	if limit := now.Add(maxBurst); p.until.After(limit) {
		p.until = limit
	}
}

// missed leaves out time in which nobody looked at the device.
func (p *pace) missed(t time.Duration) { p.since, p.until = p.since.Add(t), p.until.Add(t) }

// limit returns when the device counts as stalled unless it takes something before.
func (p *pace) limit() time.Time {
	return later(p.since, p.until).Add(max(p.patience, min(2*p.longest, maxPatience)))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
