// Package speaker gives a gate its voice: it plays clips through the default ALSA device with oto. It opens the device in
// the background, again and again while there is none; it lets it rest while nothing is said, and never waits for it
// without a bound. Built without cgo or with the tag nosound it has the same methods and says that it has no voice.
package speaker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/internal/device"
)

// Speaker plays the clips of a cue, as a [drivers.Indicator] and [drivers.Checker]. Its methods are safe for concurrent
// use.
type Speaker struct {
	opts   Options
	fault  *device.Fault
	worker *device.Worker[utterance]

	slowness time.Duration // see startAt
}

const gap = 80 * time.Millisecond // silence between two clips of a cue

// New returns a speaker at once; the device is opened in the background. A program has one speaker at a time. Halt ends
// it.
func New(opts Options) *Speaker { return start(opts, openDevice) }

func start(opts Options, open opener) *Speaker { return startAt(1, opts, open) }

// startAt starts a speaker for which time passes slowly, so many times as slowness says. It is 1 but in tests with a real
// device, which must bear a machine that is busy with much else.
func startAt(slowness time.Duration, opts Options, open opener) *Speaker {
	s := &Speaker{opts: opts.withDefaults(), fault: &device.Fault{}, slowness: slowness}
	l := newLoop(s.opts, open, s.fault)
	if slowness > 1 {
		began := time.Now()
		l.now = func() time.Time { return began.Add(time.Since(began) / slowness) }
		l.slowness = slowness
	}
	s.worker = device.Work("the sound device", slowness*device.ShowLimit, l.run)
	return s
}

// Show plays the cue's clips one after the other and returns nil when the device has taken the first of it. A sound
// under way is cut, also by a cue without clips and in hours with volume 0. Show takes at most 0.9 s: with no device it
// returns an error wrapping [drivers.ErrUnavailable] at once, and in a build without sound one wrapping
// [drivers.ErrNotInBuild]. Names that are no clips are an error too, after the others have been played.
func (s *Speaker) Show(ctx context.Context, c drivers.Cue) error {
	sound, unknown := s.compose(c.Clips)
	what := utterance{sound: sound, volume: s.opts.volume(), by: c.By}
	if what.volume == 0 {
		what.sound = nil
	}
	return errors.Join(s.worker.Do(ctx, what), unknown)
}

// Check returns nil when the device is open and takes sound, and otherwise what is wrong, for the technician. It does
// not block.
func (s *Speaker) Check() error { return s.fault.Get() }

// Halt ends what is being played and lets the device rest. The error says when the device did not answer within 1 s.
func (s *Speaker) Halt() error {
	return s.worker.Halt(2 * s.slowness * haltLimit) // the loop itself takes no longer than one
}

// String returns "speaker (ALSA default)".
func (s *Speaker) String() string { return "speaker (ALSA default)" }

// compose joins the clips to one sound.
func (s *Speaker) compose(names []string) (PCM, error) {
	var sound PCM
	var unknown []string
	for _, name := range names {
		clip := s.opts.Clips[name]
		if len(clip) == 0 {
			unknown = append(unknown, name)
			continue
		}
		if len(sound) > 0 {
			sound = append(sound, silence(gap)...)
		}
		sound = append(sound, clip...)
	}
	if unknown != nil {
		return sound, fmt.Errorf("no clip is called %s", strings.Join(unknown, ", "))
	}
	return sound, nil
}

func silence(d time.Duration) PCM { return make(PCM, 2*int(d*Rate/time.Second)) }
