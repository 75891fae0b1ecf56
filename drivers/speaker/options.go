package speaker

import (
	"log/slog"
	"time"
)

// Options of a [Speaker].
type Options struct {
	Clips  map[string]PCM // what can be said, by the names cues use; not changed by the caller afterwards
	Volume float64        // factor from 0 (silent) to 1 (as recorded); 0.5 is 6 dB less
	Quiet  Quiet          // hours with a volume of their own
	Buffer time.Duration  // of a card, or 0 for DefaultBuffer; servers get more. The first speaker of the process decides.

	// IdleCheck is how often a device nobody uses is given 20 ms of silence to see whether it still works; 0 is every
	// 30 s. It is the longest time after which Check notices that an idle device was unplugged.
	IdleCheck time.Duration

	Logger *slog.Logger     // nil is silent
	Now    func() time.Time // the gate's local time, for quiet hours; nil is time.Now
}

// DefaultBuffer had the shortest time from a cue to its first sample without losses; docs/sound.md has the figures, and
// what to do where it crackles.
const DefaultBuffer = 10 * time.Millisecond

// serverBuffer is the least for a sound server: it fetches sound when its own turn comes, and one that once finds too
// little goes on with silence (PulseAudio's null sink with 2 s of it).
const serverBuffer = 100 * time.Millisecond

// Quiet is a span of each day with its own volume. From later than To goes over midnight; equal ones mean no quiet hours.
type Quiet struct {
	From, To time.Duration // time of day since midnight, From included, To not
	Volume   float64       // as in Options; 0 is silent
}

func (q Quiet) covers(now time.Time) bool {
	of := time.Duration(now.Hour())*time.Hour + time.Duration(now.Minute())*time.Minute +
		time.Duration(now.Second())*time.Second + time.Duration(now.Nanosecond())
	if q.From <= q.To {
		return q.From <= of && of < q.To
	}
	return of >= q.From || of < q.To
}

func (opts Options) withDefaults() Options {
	if opts.Buffer <= 0 {
		opts.Buffer = DefaultBuffer
	}
	if opts.IdleCheck <= 0 {
		opts.IdleCheck = 30 * time.Second
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return opts
}

// volume returns the factor to play with now, from 0 to 1.
func (opts Options) volume() float64 {
	v := opts.Volume
	if opts.Quiet.covers(opts.Now()) {
		v = opts.Quiet.Volume
	}
	if !(v > 0) { // also not a number
		return 0
	}
	return min(v, 1)
}
