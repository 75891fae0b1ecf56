package speaker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/internal/device"
)

// soundDevice is an open sound device. Play, Err and Release do not block; Suspend and Resume may, for as long as the
// device does not take samples.
type soundDevice interface {
	Play(sound PCM, volume float64) voice
	Suspend() error
	Resume() error
	Patience() time.Duration // longest it takes nothing while it works, once it has played what it took
	Err() error              // why the device is lost, nil while it works
	Release()                // gives it back; called once, last
}

// voice is one sound being played.
type voice interface {
	Left() int // bytes the device has not yet taken
	Close()    // ends it
}

// opener opens the default device. It may block for ever; it gives up, where it can, when ctx ends.
type opener func(ctx context.Context, buffer time.Duration) (soundDevice, error)

const (
	openLimit   = 2 * time.Second        // after this, opening counts as a fault
	drainTime   = 150 * time.Millisecond // of silence after a sound, which pushes it out of every buffer behind
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

// utterance is what a Show wants to be heard. Without sound it only ends what is being played.
type utterance struct {
	sound  PCM
	volume float64
	by     time.Time // from then on it is not begun, as in [drivers.Cue]
}

// result is what a call that may block has come to.
type result struct {
	device soundDevice // of an opening that succeeded
	err    error
}

// loop owns the device. All its fields but fault belong to the goroutine of run; only calls that may block are made
// elsewhere, one at a time, and come back through results. It lives by the table of transitions.
type loop struct {
	opts  Options
	open  opener
	ctx   context.Context // of run
	now   func() time.Time
	fault *device.Fault // what Check says; while it is one, no Show is taken
	retry device.Backoff

	state   state
	dueAt   time.Time     // when the state has waited long enough; zero for never
	lookAt  time.Time     // when the loop meant to look at the device again
	results <-chan result // of the call that is out: opening, suspending, recalled, waking
	device  soundDevice   // in states that are open
	voice   voice         // in states that are sounding
	pace    pace          // of device
	left    int           // bytes of voice not taken when it was last looked at
	begun   bool          // whether the device has taken anything of voice

	next  utterance // for begin
	cause error     // for refused and lost

	asked bool                      // a Show waits for the first samples of voice, or for the first opening
	asker device.Request[utterance] // that Show

	slowness time.Duration // see startAt
}

func newLoop(opts Options, open opener, fault *device.Fault) *loop {
	return &loop{
		opts: opts, open: open, fault: fault, retry: device.Backoff{First: firstRetry, Last: lastRetry},
		now: time.Now, slowness: 1,
	}
}

func (l *loop) run(ctx context.Context, requests <-chan device.Request[utterance]) error {
	l.ctx, l.dueAt = ctx, l.now() // the first attempt
	timer := time.NewTimer(0)
	defer timer.Stop()
	now := l.now()
	for {
		// From when the device was looked at, not from now: this process may have had no turn in between.
		pause := l.pause(now)
		l.lookAt = now.Add(pause)
		timer.Reset(pause)
		select {
		case <-ctx.Done():
			err := l.halt()
			l.fault.Set(device.ErrHalted)
			return err
		case r := <-requests:
			now = l.now()
			l.request(r, now)
		case r := <-l.results:
			now = l.now()
			l.came(r, now)
		case <-timer.C:
			now = l.now()
			l.tick(now)
		}
	}
}

// pause returns how long nothing needs to be looked at.
func (l *loop) pause(now time.Time) time.Duration {
	switch {
	case l.state.sounding() && l.asked:
		return fastTick
	case l.state.sounding() || l.state == suspending:
		return slowTick
	case l.dueAt.IsZero():
		return time.Hour // the call that is out will tell
	default:
		return l.dueAt.Sub(now)
	}
}

// tick raises the events that time and the device bring.
func (l *loop) tick(now time.Time) {
	if l.state.open() {
		if l.cause = l.device.Err(); l.cause != nil {
			l.on(lost, now)
			return
		}
	}
	l.forgive(now)
	if l.state.sounding() {
		l.follow(now)
	}
	if !l.dueAt.IsZero() && !now.Before(l.dueAt) {
		l.on(due, now)
	}
}

// forgive leaves out of the device's time by how much this look at it comes late: the machine was busy, and the device
// may have been kept waiting as well.
func (l *loop) forgive(now time.Time) {
	late := now.Sub(l.lookAt)
	if late <= 0 || l.dueAt.IsZero() || !l.state.sounding() && l.state != suspending {
		return
	}
	l.pace.missed(late)
	l.dueAt = l.dueAt.Add(late)
}

// follow looks at how far the sound being played has got. A device that takes some of it works. A sound that it has not
// begun in time is dropped: whom it was for has left.
func (l *loop) follow(now time.Time) {
	left := l.voice.Left()
	if left < l.left {
		l.pace.took(span(l.left-left)/l.slowness, now)
		l.left, l.begun, l.dueAt = left, true, l.pace.limit()
		l.retry.Reset()
		l.setFault(nil)
		l.answer(nil)
	}
	switch by := l.next.by; {
	case left == 0 && l.state == playing:
		l.on(finished, now)
	case !l.begun && !by.IsZero() && !time.Now().Before(by):
		l.answer(errLate)
		l.on(cut, now)
	}
}

// request takes a Show. It replaces one that still waits.
func (l *loop) request(r device.Request[utterance], now time.Time) {
	l.answer(errors.New("a later cue came first"))
	switch {
	case len(r.What.sound) == 0:
		l.on(cut, now)
		r.Answer(nil)
	case l.fault.Get() != nil:
		r.Answer(l.unavailable())
	default:
		l.asked, l.asker, l.next = true, r, r.What
		l.on(begin, now) // while the first attempt to open is out, the Show waits for it
	}
}

// unavailable is the fault with the sentinel that every refused Show has.
func (l *loop) unavailable() error {
	err := l.fault.Get()
	if errors.Is(err, drivers.ErrUnavailable) || errors.Is(err, drivers.ErrNotInBuild) {
		return err
	}
	return fmt.Errorf("%w: %w", err, drivers.ErrUnavailable)
}

// came takes the result of the call that was out.
func (l *loop) came(r result, now time.Time) {
	l.cause = r.err
	switch {
	case l.state == opening && r.err != nil:
		l.on(refused, now)
	case l.state == opening:
		l.device = r.device
		l.on(opened, now)
		l.playForWaiting(now)
	case r.err != nil:
		l.on(lost, now)
	default:
		l.on(returned, now)
	}
}

// playForWaiting plays what a Show has waited to say since before the device was open, if it still waits.
func (l *loop) playForWaiting(now time.Time) {
	if !l.asked {
		return
	}
	if err := l.asker.Ctx.Err(); err != nil {
		l.answer(err)
		return
	}
	l.on(begin, now)
}

// answer ends the wait of the Show under way, if there is one.
func (l *loop) answer(err error) {
	if l.asked {
		l.asked = false
		l.asker.Answer(err)
	}
}

func (l *loop) setFault(err error) {
	switch changed := l.fault.Set(err); {
	case changed && err == nil:
		l.opts.Logger.Info("sound device works again")
	case changed:
		l.opts.Logger.Warn("no sound", "error", err)
	}
}

// halt ends the sound and suspends the device by the table, both within the halt limit, and waits for the call that is out.
func (l *loop) halt() error {
	l.answer(device.ErrHalted)
	limit := time.NewTimer(l.slowness * haltLimit)
	defer limit.Stop()
	for {
		l.on(cut, l.now())
		switch l.state {
		case absent: // there is none, or it was lost and is silent
			return nil
		case resting:
			l.device.Release()
			return nil
		case ready:
			l.on(due, l.now())
		}
		select {
		case r := <-l.results:
			l.came(r, l.now())
		case <-limit.C:
			if l.state == opening {
				return errors.New("halting the speaker: the sound device is still being opened")
			}
			if l.state.sounding() {
				l.quiet(l.now())
			}
			l.device.Release()
			return errors.New("halting the speaker: the sound device does not answer")
		}
	}
}
