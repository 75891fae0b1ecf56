package serialscan

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/framing"
	"github.com/kipass/kipass/drivers/internal/device"
)

// Reader is one 2D reader on a serial line. It implements drivers.Reader, drivers.Checker and drivers.Switchable; its
// methods other than Run are safe for concurrent use.
type Reader struct {
	opts  Options
	fam   family
	input *device.Input
	now   func() time.Time // the clock by which silence and answers are awaited

	inactive atomic.Bool // what SetActive was last told, the other way round
	silent   atomic.Bool // commands go unanswered since the last good frame
}

// New checks the options and returns a reader that Run will open. Its errors say which option is wrong.
func New(opts Options) (*Reader, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("serial reader %q: %w", opts.Name, err)
	}
	fam := familyOf(opts)
	needs := map[purpose]bool{
		doTrigger: opts.Trigger == TriggerHost, doLightOn: opts.Light == LightOn, doLightOff: opts.Light == LightOff,
	}
	for p, needed := range needs {
		if needed && !fam.can(p) {
			return nil, fmt.Errorf("serial reader %q: no %s command is known for model %s: give its bytes in the commands, or leave the option out",
				opts.Name, p, opts.Model)
		}
	}
	return &Reader{opts: opts, fam: fam, input: device.NewInput(opts.Name), now: time.Now}, nil
}

// String names the reader for people.
func (r *Reader) String() string { return fmt.Sprintf("serial %s (%s)", r.opts.Device, r.opts.Name) }

// Run implements drivers.Reader. The line is closed, and thereby free for a new device number, before it returns.
func (r *Reader) Run(ctx context.Context, emit func(drivers.Read)) error {
	defer r.silent.Store(false)
	noise := fmt.Sprintf("바이트는 오지만 코드가 아닙니다: baud(현재 %[1]d)와 terminator(현재 %[2]s)를 확인하세요"+
		" / bytes arrive but no code: check baud (now %[1]d) and terminator (now %[2]s)", r.opts.Baud, r.opts.Framing.Terminator)
	take := r.input.Frames(ctx, emit, noise)
	return r.input.Run(ctx, func() error {
		return r.serve(ctx, func(f framing.Frame) {
			if f.Whole {
				r.silent.Store(false)
			}
			take(f)
		})
	})
}

// Returned implements drivers.Returner.
func (r *Reader) Returned(ctx context.Context) (<-chan struct{}, error) {
	return device.Watch(ctx, r.opts.Device)
}

func (r *Reader) serve(ctx context.Context, frame func(framing.Frame)) error {
	l, err := openLine(r.opts.Device, r.opts.Baud)
	if err != nil {
		return err
	}
	defer func() {
		if closing := l.close(); closing != nil {
			r.opts.Logger.Debug("closing the line", "reader", r.opts.Name, "error", closing)
		}
	}()
	r.input.Opened()
	r.opts.Logger.Info("reader opened", "reader", r.opts.Name, "device", r.opts.Device, "baud", r.opts.Baud, "model", string(r.opts.Model))

	s := newSession(r, l, frame)
	buf := make([]byte, 4096)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.tick(r.now())
		n, err := l.read(buf)
		switch {
		case errors.Is(err, errQuick):
		case err != nil:
			return fmt.Errorf("reading %s: %w", r.opts.Device, err)
		case n == 0:
			s.idle(r.now())
		default:
			s.push(r.now(), buf[:n])
		}
	}
}

// Check implements drivers.Checker: nil when the line is open and what arrives on it looks like codes. The error wraps
// drivers.ErrUnavailable or drivers.ErrLost while it is not open, drivers.ErrGarbled when its settings spoil codes, and none
// of them when the reader answers no command.
func (r *Reader) Check() error {
	if err := r.input.Check(); err != nil {
		return err
	}
	if r.silent.Load() {
		return fmt.Errorf("%s answers no command: check that it is a %s reader, and baud (now %d)", r.opts.Device, r.opts.Model, r.opts.Baud)
	}
	return nil
}

// SetActive implements drivers.Switchable. It returns an error wrapping errors.ErrUnsupported for a model without a
// command that stops it.
func (r *Reader) SetActive(_ context.Context, on bool) error {
	r.inactive.Store(!on)
	if !r.fam.can(doDisable) && !(r.fam.can(doStop) && r.opts.Trigger == TriggerHost) {
		return fmt.Errorf("%s: model %s has no command to stop reading: %w", r.String(), r.opts.Model, errors.ErrUnsupported)
	}
	return nil
}
