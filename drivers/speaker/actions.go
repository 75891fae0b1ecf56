package speaker

import (
	"errors"
	"fmt"
	"time"

	"github.com/kipass/kipass/drivers"
)

// What the loop does on its way from one state to the next. Each sets dueAt for the state it leads to, or leaves it
// where that goes on waiting for the same.

var (
	errStalled = fmt.Errorf("sound device takes no sound: %w", drivers.ErrUnavailable)
	errLate    = fmt.Errorf("sound device did not begin in time: %w", drivers.ErrUnavailable)
)

// call makes a call that may block, elsewhere.
func (l *loop) call(do func() result) {
	results := make(chan result, 1)
	l.results = results
	go func() { results <- do() }()
}

// attempt begins to open the device.
func (l *loop) attempt(now time.Time) {
	l.dueAt = now.Add(openLimit)
	l.call(func() result {
		d, err := l.open(l.ctx, l.opts.Buffer)
		return result{d, err}
	})
}

// reportSlowOpening makes a fault of an attempt that takes long, unless an earlier one failed. It stays out.
func (l *loop) reportSlowOpening(time.Time) {
	l.dueAt = time.Time{}
	if l.fault.Get() == nil {
		l.setFault(fmt.Errorf("sound device does not open: %w", drivers.ErrUnavailable))
	}
}

// takeOver begins with a device that was opened: it is suspended at once, unless a Show waits.
func (l *loop) takeOver(now time.Time) {
	l.dueAt, l.pace = now, pace{patience: l.device.Patience(), since: now}
	l.setFault(nil)
}

// retryLater reports why the device could not be opened and sets the time of the next attempt.
func (l *loop) retryLater(now time.Time) {
	l.setFault(l.cause)
	l.answer(l.cause)
	pause := l.retry.Next()
	switch {
	case errors.Is(l.cause, drivers.ErrNotInBuild):
		pause = 365 * 24 * time.Hour // no device will ever come
	case errors.Is(l.cause, errUnusable):
		pause = costlyRetry
	}
	l.dueAt = now.Add(pause)
}

// release gives up a device that was lost. What a call to it still brings is of no interest.
func (l *loop) release(now time.Time) {
	l.device.Release()
	l.results = nil
	l.cause = fmt.Errorf("sound device: %w: %w", l.cause, drivers.ErrLost)
	l.retryLater(now)
}

// quietAndRelease gives up a device that was lost with a sound in it.
func (l *loop) quietAndRelease(now time.Time) {
	l.quiet(now)
	l.release(now)
}

// play begins the next sound. Samples are in place before the device is woken.
func (l *loop) play(now time.Time) {
	l.give(now)
	l.await(now)
}

// give hands the next sound to a device that is already being waited for.
func (l *loop) give(time.Time) {
	l.voice = l.device.Play(l.next.sound, l.next.volume)
	l.left, l.begun = len(l.next.sound), false
}

// await gives the device the time to move that its pace allows.
func (l *loop) await(now time.Time) {
	l.pace.expect(now)
	l.dueAt = l.pace.limit()
}

// quiet ends the sound being played. What comes then is silence, until the device is suspended.
func (l *loop) quiet(time.Time) { l.voice.Close() }

// replace begins the next sound in the place of the one being played. The device gets no more time for that: cues that
// follow each other closely must not hide that it takes none of them.
func (l *loop) replace(now time.Time) {
	l.quiet(now)
	l.give(now)
}

// replaceBySilence lets the device wake to nothing worth hearing.
func (l *loop) replaceBySilence(now time.Time) {
	l.next = utterance{sound: silence(testLength), volume: 1}
	l.replace(now)
}

// cutShort ends a sound before the device has taken it whole, and lets the device be suspended.
func (l *loop) cutShort(now time.Time) {
	l.quiet(now)
	l.dueAt = now
}

// drain lets silence follow a sound that was taken whole.
func (l *loop) drain(now time.Time) {
	l.quiet(now)
	l.dueAt = now.Add(drainTime)
	l.pace.expect(l.dueAt)
}

// dropStalled reports a device that takes nothing. Its sound is dropped, so that it is not heard much later, and silence
// put in its place, which shows when the device goes on; for that it has all the time there is.
func (l *loop) dropStalled(now time.Time) {
	l.setFault(errStalled)
	l.answer(errStalled)
	l.replaceBySilence(now)
	l.dueAt = time.Time{}
}

// suspend lets the device rest. If it has been waited for in vain, it is waited for no longer because of that.
func (l *loop) suspend(time.Time) {
	d := l.device
	l.call(func() result { return result{err: d.Suspend()} })
	l.dueAt = l.pace.limit()
}

// reportStall reports a device that does not even let itself be suspended.
func (l *loop) reportStall(time.Time) {
	l.setFault(errStalled)
	l.dueAt = time.Time{}
}

// rest begins the time after which an idle device is tested.
func (l *loop) rest(now time.Time) {
	l.pace.took(0, now)
	l.setFault(nil)
	l.dueAt = now.Add(l.opts.IdleCheck)
}

// resume wakes a device that has a sound to play.
func (l *loop) resume(now time.Time) {
	d := l.device
	l.call(func() result { return result{err: d.Resume()} })
	l.await(now)
}

// wakeAgain wakes a device that has just let itself be suspended, and so has moved.
func (l *loop) wakeAgain(now time.Time) {
	l.pace.took(0, now)
	l.resume(now)
}

func (l *loop) playAndResume(now time.Time) {
	l.give(now)
	l.resume(now)
}

// test gives a resting device silence, to see whether it still works.
func (l *loop) test(now time.Time) {
	l.next = utterance{sound: silence(testLength), volume: 1}
	l.playAndResume(now)
}
