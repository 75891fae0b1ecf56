package evdevscan

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/framing"
	"github.com/kipass/kipass/drivers/internal/device"
)

// Reader is one scanner that appears as an input device. It implements drivers.Reader; its methods other than Run are
// safe for concurrent use.
type Reader struct {
	opts   Options
	place  place
	damage damage
	roots  roots
	kernel kernel
	layout layout
	input  *device.Input
	now    func() time.Time       // the clock by which silence is measured
	off    atomic.Pointer[string] // path of the kernel's switch for the device; nil while it is not open
}

// New checks the options and returns a reader that Run will open. Its errors say which option is wrong.
func New(opts Options) (*Reader, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("input device %q: %w", opts.Name, err)
	}
	p, err := parsePlace(opts.Device)
	if err != nil {
		return nil, fmt.Errorf("input device %q: %w", opts.Name, err)
	}
	return &Reader{
		opts: opts, place: p, damage: newDamage(opts.Framing.Code), roots: kernelRoots, kernel: linux{}, layout: native,
		input: device.NewInput(opts.Name), now: time.Now,
	}, nil
}

// String names the reader for people.
func (r *Reader) String() string {
	return fmt.Sprintf("input device %s (%s)", r.opts.Device, r.opts.Name)
}

// Run implements drivers.Reader. The device is released before it returns.
func (r *Reader) Run(ctx context.Context, emit func(drivers.Read)) error {
	defer r.off.Store(nil)
	take := r.input.Frames(ctx, emit, framing.FlawDamaged)
	return r.input.Run(ctx, func() error {
		return r.serve(ctx, func(f framing.Frame) {
			if f.Flaw == "" || f.Flaw == framing.FlawDamaged {
				f.Flaw = cmp.Or(r.damage.flaw(f), f.Flaw)
			}
			take(f)
		})
	})
}

// Returned implements drivers.Returner. A device that is known by name or number may come as any.
func (r *Reader) Returned(ctx context.Context) (<-chan struct{}, error) {
	return device.Watch(ctx, cmp.Or(r.place.path, filepath.Join(r.roots.dev, device.Any)))
}

func (r *Reader) serve(ctx context.Context, frame func(framing.Frame)) error {
	path, err := r.roots.find(r.place)
	if err != nil {
		return fmt.Errorf("%w: %w", drivers.ErrUnavailable, err)
	}
	d, err := openScanner(path, r.kernel)
	if err != nil {
		return err
	}
	defer func() {
		if closing := d.close(); closing != nil {
			r.opts.Logger.Debug("closing the input device", "reader", r.opts.Name, "error", closing)
		}
	}()
	defer device.WhenDone(ctx, func() {
		if err := d.wait(time.Now()); err != nil {
			r.opts.Logger.Debug("ending the wait for an input device", "reader", r.opts.Name, "error", err)
		}
	})()
	s := &session{framer: framing.New(r.opts.Framing), held: d.held, timed: d.timed, frame: frame}
	if err := s.begin(r.now()); err != nil {
		return err
	}
	r.opened(path)
	return r.listen(ctx, d, s)
}

func (r *Reader) opened(path string) {
	// A by-id path leads to the node, whose name is that of its folder.
	node, err := filepath.EvalSymlinks(path)
	if err != nil {
		node = path
	}
	off := filepath.Join(r.roots.sys, filepath.Base(node), "device", "inhibited")
	r.off.Store(&off)
	r.input.Opened()
	r.opts.Logger.Info("reader opened", "reader", r.opts.Name, "device", r.opts.Device, "path", node)
}

// listen reads until the device is lost or ctx ends.
func (r *Reader) listen(ctx context.Context, d *scanner, s *session) error {
	cut := events{layout: r.layout}
	buf := make([]byte, 128*r.layout)
	var list []event
	for {
		// The order matters: an end of the context that comes after this wait was set ends it, and one before is seen.
		if err := d.wait(device.Deadline(s.due(), r.now())); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := d.read(buf)
		if err != nil {
			return err
		}
		now := r.now()
		if n == 0 {
			s.idle(now)
			continue
		}
		list = list[:0]
		cut.push(buf[:n], func(e event) { list = append(list, e) })
		if err := s.push(now, list); err != nil {
			return err
		}
	}
}

// Check implements drivers.Checker: nil when the device is open and codes arrive undamaged. The error wraps
// drivers.ErrUnavailable or drivers.ErrLost while it is not open, and drivers.ErrGarbled when its settings spoil codes.
func (r *Reader) Check() error {
	if err := r.input.Check(); err != nil {
		return err
	}
	off := r.off.Load()
	if off == nil {
		return nil // it was lost this very moment
	}
	// A kernel before 5.11 has no such switch, and then the device is on.
	if text, err := os.ReadFile(*off); err == nil && strings.TrimSpace(string(text)) == "1" {
		return fmt.Errorf("%s is switched off by the system: write 0 to %s", r.String(), *off)
	}
	return nil
}
