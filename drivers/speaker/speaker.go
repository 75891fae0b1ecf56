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
)

// Speaker plays the clips of a cue, as a [drivers.Indicator] and [drivers.Checker]. Its methods are safe for concurrent
// use.
type Speaker struct {
	options  Options
	requests chan request
	checks   chan chan error
	cancel   context.CancelFunc
	stopped  chan struct{} // closed when the loop has ended
	leftover error         // why the device could not be put to rest; set before stopped is closed
}

// request is one cue for the loop. done gets one answer and has room for it.
type request struct {
	ctx    context.Context
	sound  PCM // empty: only end what is being played
	volume float64
	done   chan error
}

const (
	showLimit = 900 * time.Millisecond // the longest a Show takes
	gap       = 80 * time.Millisecond  // silence between two clips of a cue
)

var errHalted = fmt.Errorf("speaker was halted: %w", drivers.ErrUnavailable)

// New returns a speaker at once; the device is opened in the background. A program has one speaker at a time. Halt ends
// it.
func New(o Options) *Speaker { return start(o, openDevice) }

func start(o Options, open opener) *Speaker {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Speaker{
		options:  o.withDefaults(),
		requests: make(chan request),
		checks:   make(chan chan error),
		cancel:   cancel,
		stopped:  make(chan struct{}),
	}
	l := &loop{options: s.options, open: open}
	go func() {
		defer close(s.stopped)
		s.leftover = l.run(ctx, s.requests, s.checks)
	}()
	return s
}

// Show plays the cue's clips one after the other and returns nil when the device has taken the first of it. A sound
// under way is cut, also by a cue without clips and in hours with volume 0. Show takes at most 0.9 s: with no device it
// returns an error wrapping [drivers.ErrUnavailable] at once, and in a build without sound one wrapping
// [drivers.ErrNotInBuild]. Names that are no clips are an error too, after the others have been played.
func (s *Speaker) Show(ctx context.Context, c drivers.Cue) error {
	sound, unknown := s.compose(c.Clips)
	ctx, cancel := context.WithTimeout(ctx, showLimit)
	defer cancel()
	r := request{ctx: ctx, volume: s.options.volume(), done: make(chan error, 1)}
	if r.volume > 0 {
		r.sound = sound
	}
	select {
	case s.requests <- r:
	case <-s.stopped:
		return errHalted
	}
	select {
	case err := <-r.done:
		return errors.Join(err, unknown)
	case <-ctx.Done():
		return fmt.Errorf("waiting for the sound device: %w: %w", ctx.Err(), drivers.ErrUnavailable)
	case <-s.stopped:
		return errHalted
	}
}

// Check returns nil when the device is open and takes sound, and otherwise what is wrong, for the technician. It does
// not block.
func (s *Speaker) Check() error {
	answer := make(chan error, 1)
	select {
	case s.checks <- answer:
		return <-answer
	case <-s.stopped:
		return errHalted
	}
}

// Halt ends what is being played and lets the device rest. The error says when the device did not answer within 1 s.
func (s *Speaker) Halt() error {
	s.cancel()
	<-s.stopped
	return s.leftover
}

// String returns "speaker (ALSA default)".
func (s *Speaker) String() string { return "speaker (ALSA default)" }

// compose joins the clips to one sound.
func (s *Speaker) compose(names []string) (PCM, error) {
	var sound PCM
	var unknown []string
	for _, name := range names {
		clip := s.options.Clips[name]
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
