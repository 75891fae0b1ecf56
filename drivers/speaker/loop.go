package speaker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kipass/kipass/drivers"
)

// device is an open sound device. Play, Err and Release do not block; Suspend and Resume may, for as long as the device
// does not take samples.
type device interface {
	Play(sound PCM, volume float64) voice
	Suspend() error
	Resume() error
	Err() error // why the device is lost, nil while it works
	Release()   // gives it back; called once, last
}

// voice is one sound being played.
type voice interface {
	Left() int // bytes the device has not yet taken
	Close()    // ends it
}

// opener opens the default device. It may block for ever; it gives up, where it can, when ctx ends.
type opener func(ctx context.Context, buffer time.Duration) (device, error)

const (
	stallLimit  = 500 * time.Millisecond // longest a working device takes no samples
	openLimit   = 2 * time.Second        // after this, opening counts as a fault
	drain       = 150 * time.Millisecond // silence after a sound, which pushes it out of every buffer behind
	firstRetry  = 250 * time.Millisecond // between attempts to open; doubled up to lastRetry
	lastRetry   = 15 * time.Second
	costlyRetry = 10 * time.Minute      // after attempts that leave something behind
	testLength  = 20 * time.Millisecond // of the silence that shows whether the device takes samples
	fastTick    = 2 * time.Millisecond  // while a Show waits for the first samples to be taken
	slowTick    = 20 * time.Millisecond // while something is played or a call is out
	haltLimit   = time.Second
)

// errUnusable marks a device that opened but could not be set up.
var errUnusable = errors.New("the device opens but cannot be used")

// loop owns the device. All its fields belong to the goroutine of run; only calls that may block are made elsewhere, one
// at a time, and come back through a channel.
type loop struct {
	options Options
	open    opener

	fault error // what Check says

	opened  chan opening // not nil while an attempt to open is out
	since   time.Time    // when that attempt or the blocking call below began
	retryAt time.Time    // when to try again, while there is no device and no attempt
	retry   time.Duration

	device  device
	called  chan error // not nil while Suspend or Resume is out
	waking  bool       // whether that call is Resume
	awake   bool       // the device takes samples
	idleAt  time.Time  // while awake and nothing is played: when to suspend; while asleep: when to check
	voice   voice      // what is being played, nil for nothing
	left    int
	moved   time.Time // when left last became less
	waiting *request  // the Show that waits for the first samples of voice, or for the device to open
}

type opening struct {
	device device
	err    error
}

func (l *loop) run(ctx context.Context, requests <-chan request, checks <-chan chan error) error {
	l.attempt(ctx)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(l.next(time.Now()))
		select {
		case <-ctx.Done():
			return l.halt()
		case r := <-requests:
			l.request(r, time.Now())
		case answer := <-checks:
			answer <- l.fault
		case o := <-l.opened:
			l.opened = nil
			l.tookOver(o, time.Now())
		case err := <-l.called:
			l.called = nil
			l.returned(err, time.Now())
		case <-timer.C:
			l.tick(ctx, time.Now())
		}
	}
}

// next returns how long nothing needs to be looked at.
func (l *loop) next(now time.Time) time.Duration {
	switch {
	case l.device == nil && l.opened == nil:
		return l.retryAt.Sub(now)
	case l.device == nil && l.fault == nil:
		return l.since.Add(openLimit).Sub(now)
	case l.device == nil:
		return time.Hour // the attempt that is out will tell
	case l.voice != nil && l.waiting != nil:
		return fastTick
	case l.voice != nil || l.called != nil:
		return slowTick
	default:
		return l.idleAt.Sub(now)
	}
}

// attempt begins to open the device. It is not called again before the answer has come.
func (l *loop) attempt(ctx context.Context) {
	opened := make(chan opening, 1)
	l.opened, l.since = opened, time.Now()
	go func() {
		d, err := l.open(ctx, l.options.Buffer)
		opened <- opening{d, err}
	}()
}

func (l *loop) tookOver(o opening, now time.Time) {
	if o.err != nil {
		l.setFault(o.err)
		l.retryLater(now)
		l.answer(o.err)
		return
	}
	l.device, l.awake, l.idleAt = o.device, true, now
	l.setFault(nil)
	if r := l.waiting; r != nil && r.ctx.Err() == nil {
		l.waiting = nil
		l.request(*r, now)
	}
}

func (l *loop) retryLater(now time.Time) {
	l.retry = min(max(2*l.retry, firstRetry), lastRetry)
	l.retryAt = now.Add(l.retry)
	switch {
	case errors.Is(l.fault, drivers.ErrNotInBuild):
		l.retryAt = now.Add(24 * 365 * time.Hour) // no device will ever come
	case errors.Is(l.fault, errUnusable):
		l.retryAt = now.Add(costlyRetry)
	}
}

// lost gives the device up.
func (l *loop) lost(err error, now time.Time) {
	l.quiet()
	l.device.Release()
	l.device, l.called = nil, nil
	l.setFault(fmt.Errorf("sound device: %w: %w", err, drivers.ErrLost))
	l.retryLater(now)
	l.answer(l.fault)
}

func (l *loop) request(r request, now time.Time) {
	if l.waiting != nil {
		l.answer(errors.New("a later cue came first"))
	}
	if l.device != nil {
		l.quiet()
	}
	switch {
	case len(r.sound) == 0:
		r.done <- nil
	case l.device == nil && l.fault == nil:
		l.waiting = &r // the first attempt is still out
	case l.fault != nil:
		r.done <- l.unavailable()
		if l.device != nil && l.stalled() {
			l.play(silence(testLength), 1, now) // again to be told when the device goes on
		}
	default:
		l.waiting = &r
		l.play(r.sound, r.volume, now)
	}
}

// unavailable is the fault with the sentinel that every refused Show has.
func (l *loop) unavailable() error {
	if errors.Is(l.fault, drivers.ErrUnavailable) || errors.Is(l.fault, drivers.ErrNotInBuild) {
		return l.fault
	}
	return fmt.Errorf("%w: %w", l.fault, drivers.ErrUnavailable)
}

func (l *loop) stalled() bool { return l.fault != nil }

// play begins a sound; the one before has been ended. Samples are in place before the device is woken.
func (l *loop) play(sound PCM, volume float64, now time.Time) {
	l.voice = l.device.Play(sound, volume)
	l.left, l.moved = len(sound), now
	if !l.awake && l.called == nil {
		l.call(true, now)
	}
}

// quiet ends the sound being played. What comes then is silence, until the device is suspended.
func (l *loop) quiet() {
	if l.voice != nil {
		l.voice.Close()
		l.voice = nil
	}
}

// call suspends or resumes the device.
func (l *loop) call(wake bool, now time.Time) {
	called, d := make(chan error, 1), l.device
	l.called, l.waking, l.since = called, wake, now
	go func() {
		if wake {
			called <- d.Resume()
		} else {
			called <- d.Suspend()
		}
	}()
}

func (l *loop) returned(err error, now time.Time) {
	if err != nil {
		l.lost(err, now)
		return
	}
	l.awake = l.waking
	switch {
	case l.awake:
		l.idleAt = now.Add(drain)
	case l.voice != nil:
		l.moved = now
		l.call(true, now) // a cue came while the device was being suspended
	default:
		l.setFault(nil)
		l.idleAt = now.Add(l.options.IdleCheck)
	}
}

func (l *loop) tick(ctx context.Context, now time.Time) {
	if l.device == nil {
		switch {
		case l.opened == nil && !now.Before(l.retryAt):
			l.attempt(ctx)
		case l.opened != nil && now.Sub(l.since) >= openLimit && l.fault == nil:
			l.setFault(fmt.Errorf("sound device does not open: %w", drivers.ErrUnavailable))
		}
		return
	}
	if err := l.device.Err(); err != nil {
		l.lost(err, now)
		return
	}
	switch {
	case l.voice != nil:
		l.progress(now)
	case l.called != nil:
		if now.Sub(l.since) >= stallLimit {
			l.setFault(errStalled)
		}
	case now.Before(l.idleAt):
	case l.awake:
		l.call(false, now)
	default:
		l.play(silence(testLength), 1, now) // see whether the device still works
	}
}

var errStalled = fmt.Errorf("sound device takes no sound: %w", drivers.ErrUnavailable)

// progress follows the sound being played. A device that takes nothing is stalled: its sound is dropped, so that it is
// not heard much later, and silence put in its place, which shows when the device goes on.
func (l *loop) progress(now time.Time) {
	left := l.voice.Left()
	if left < l.left {
		l.left, l.moved, l.retry = left, now, 0
		l.setFault(nil)
		l.answer(nil)
	}
	switch {
	case left == 0:
		l.quiet()
		l.idleAt = now.Add(drain)
	case now.Sub(l.moved) >= stallLimit && !l.stalled():
		l.quiet()
		l.setFault(errStalled)
		l.answer(l.fault)
		l.play(silence(testLength), 1, now)
	}
}

// answer ends the wait of the Show under way.
func (l *loop) answer(err error) {
	if l.waiting != nil {
		l.waiting.done <- err
		l.waiting = nil
	}
}

func (l *loop) setFault(err error) {
	switch {
	case err == nil && l.fault != nil:
		l.options.Logger.Info("sound device works again")
	case err != nil && (l.fault == nil || l.fault.Error() != err.Error()):
		l.options.Logger.Warn("no sound", "error", err)
	}
	l.fault = err
}

// halt ends the sound and suspends the device, both within haltLimit, and waits for the calls that are out.
func (l *loop) halt() error {
	l.answer(errHalted)
	limit := time.NewTimer(haltLimit)
	defer limit.Stop()
	if l.opened != nil {
		select {
		case o := <-l.opened:
			l.device, l.awake = o.device, o.err == nil
		case <-limit.C:
			return errors.New("halting the speaker: the sound device is still being opened")
		}
	}
	if l.device == nil {
		return nil
	}
	l.quiet()
	defer l.device.Release()
	for l.called != nil || l.awake {
		if l.called == nil {
			l.call(false, time.Now())
		}
		select {
		case err := <-l.called:
			l.called = nil
			if l.awake = l.waking; err != nil {
				return nil // a lost device is silent
			}
		case <-limit.C:
			return errors.New("halting the speaker: the sound device does not answer")
		}
	}
	return nil
}
