package serialscan

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/framing"
)

// garbledLimit is how many frames of noise in a row count as a reader that is set up wrongly.
const garbledLimit = 5

// Reader is one 2D reader on a serial line. It implements drivers.Reader, drivers.Checker and drivers.Switchable; its
// methods other than Run are safe for concurrent use.
type Reader struct {
	opts Options
	fam  family

	mu       sync.Mutex
	inactive bool
	state    error // why the device is not open; nil while it is
	garbled  int   // frames of noise since the last good one
	silent   bool  // commands go unanswered since the last good frame
}

// New checks the options and returns a reader that Run will open. Its errors say which option is wrong.
func New(o Options) (*Reader, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("serial reader %q: %w", o.Name, err)
	}
	fam := familyOf(o)
	needs := map[purpose]bool{doTrigger: o.Trigger == TriggerHost, doLightOn: o.Light == LightOn, doLightOff: o.Light == LightOff}
	for p, needed := range needs {
		if needed && !fam.can(p) {
			return nil, fmt.Errorf("serial reader %q: no %s command is known for model %s: give its bytes in the commands, or leave the option out", o.Name, p, o.Model)
		}
	}
	return &Reader{opts: o, fam: fam, state: fmt.Errorf("%w: not opened yet", drivers.ErrUnavailable)}, nil
}

// String names the reader for people.
func (r *Reader) String() string { return fmt.Sprintf("serial %s (%s)", r.opts.Device, r.opts.Name) }

// Run implements drivers.Reader. The line is closed, and thereby free for a new device number, before it returns.
func (r *Reader) Run(ctx context.Context, emit func(drivers.Read)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := r.serve(ctx, emit)
	r.mu.Lock()
	r.state, r.garbled, r.silent = err, 0, false
	if ctx.Err() != nil {
		r.state = fmt.Errorf("%w: closed", drivers.ErrUnavailable)
	}
	r.mu.Unlock()
	return err
}

func (r *Reader) serve(ctx context.Context, emit func(drivers.Read)) (err error) {
	l, err := openLine(r.opts.Device, r.opts.Baud)
	if err != nil {
		return err
	}
	defer func() {
		if closing := l.close(); closing != nil {
			r.opts.Logger.Debug("closing the line", "reader", r.opts.Name, "error", closing)
		}
	}()
	r.mu.Lock()
	r.state = nil
	r.mu.Unlock()
	r.opts.Logger.Info("reader opened", "reader", r.opts.Name, "device", r.opts.Device, "baud", r.opts.Baud, "model", string(r.opts.Model))

	s := newSession(r, l, func(f framing.Frame) {
		r.note(f)
		if f.Data != nil && ctx.Err() == nil {
			emit(drivers.Read{Data: f.Data, At: f.At, Reader: r.opts.Name})
		}
	})
	buf := make([]byte, 4096)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.tick(time.Now())
		n, err := l.read(buf)
		switch {
		case errors.Is(err, errQuick):
		case err != nil:
			return fmt.Errorf("reading %s: %w", r.opts.Device, err)
		case n == 0:
			s.idle(time.Now())
		default:
			s.push(time.Now(), buf[:n])
		}
	}
}

// note keeps count of noise.
func (r *Reader) note(f framing.Frame) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.Garbled {
		r.garbled++
		return
	}
	r.garbled, r.silent = 0, false
}

// Check implements drivers.Checker: nil when the line is open and what arrives on it looks like codes. The error wraps
// drivers.ErrUnavailable or drivers.ErrLost while it is not open, drivers.ErrGarbled when only noise arrives, and none
// of them when the reader answers no command.
func (r *Reader) Check() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.state != nil:
		return r.state
	case r.garbled >= garbledLimit:
		return fmt.Errorf("%w: bytes arrive but no code: check baud (now %d) and terminator (now %s)", drivers.ErrGarbled, r.opts.Baud, r.opts.Framing.Terminator)
	case r.silent:
		return fmt.Errorf("%s answers no command: check that it is a %s reader, and baud (now %d)", r.opts.Device, r.opts.Model, r.opts.Baud)
	default:
		return nil
	}
}

// SetActive implements drivers.Switchable. It returns an error wrapping errors.ErrUnsupported for a model without a
// command that stops it.
func (r *Reader) SetActive(_ context.Context, on bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inactive = !on
	if !r.fam.can(doDisable) && !(r.fam.can(doStop) && r.opts.Trigger == TriggerHost) {
		return fmt.Errorf("%s: model %s has no command to stop reading: %w", r.String(), r.opts.Model, errors.ErrUnsupported)
	}
	return nil
}

func (r *Reader) active() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.inactive
}
