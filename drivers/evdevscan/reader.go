package evdevscan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/framing"
)

// damagedLimit is how many damaged codes in a row count as a reader that is set up wrongly.
const damagedLimit = 3

// Reader is one scanner that appears as an input device. It implements drivers.Reader; its methods other than Run are
// safe for concurrent use.
type Reader struct {
	opts   Options
	place  place
	damage damage
	roots  roots
	kernel kernel
	layout layout

	mu      sync.Mutex
	state   error  // why the device is not open; nil while it is
	off     string // the kernel's switch for the device, while it is open
	damaged int    // codes that came damaged since the last good one
	remedy  string // what to do about the last of them
}

// New checks the options and returns a reader that Run will open. Its errors say which option is wrong.
func New(o Options) (*Reader, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("input device %q: %w", o.Name, err)
	}
	p, err := parsePlace(o.Device)
	if err != nil {
		return nil, fmt.Errorf("input device %q: %w", o.Name, err)
	}
	return &Reader{
		opts: o, place: p, damage: newDamage(o.Begins, o.Alphabet), roots: kernelRoots, kernel: linux{}, layout: native,
		state: fmt.Errorf("%w: not opened yet", drivers.ErrUnavailable),
	}, nil
}

// String names the reader for people.
func (r *Reader) String() string {
	return fmt.Sprintf("input device %s (%s)", r.opts.Device, r.opts.Name)
}

// Run implements drivers.Reader. The device is released before it returns.
func (r *Reader) Run(ctx context.Context, emit func(drivers.Read)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := r.serve(ctx, emit)
	r.mu.Lock()
	r.state, r.off, r.damaged = err, "", 0
	if ctx.Err() != nil {
		r.state = fmt.Errorf("%w: closed", drivers.ErrUnavailable)
	}
	r.mu.Unlock()
	return err
}

func (r *Reader) serve(ctx context.Context, emit func(drivers.Read)) error {
	path, err := r.roots.find(r.place)
	if err != nil {
		return fmt.Errorf("%w: %w", drivers.ErrUnavailable, err)
	}
	d, err := openDevice(path, r.kernel)
	if err != nil {
		return err
	}
	defer func() {
		if closing := d.close(); closing != nil {
			r.opts.Logger.Debug("closing the input device", "reader", r.opts.Name, "error", closing)
		}
	}()
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		if err := d.wait(time.Now()); err != nil {
			r.opts.Logger.Debug("ending the wait for an input device", "reader", r.opts.Name, "error", err)
		}
	})
	defer func() {
		if !stop() {
			<-interrupted
		}
	}()
	s := &session{framer: framing.New(r.opts.Framing), held: d.held, timed: d.timed, frame: func(f framing.Frame) {
		r.note(f)
		if f.Data != nil && ctx.Err() == nil {
			emit(drivers.Read{Data: f.Data, At: f.At, Reader: r.opts.Name})
		}
	}}
	if err := s.begin(time.Now()); err != nil {
		return err
	}
	r.opened(path)
	err = r.listen(ctx, d, s)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (r *Reader) opened(path string) {
	// A by-id path leads to the node, whose name is that of its folder.
	node, err := filepath.EvalSymlinks(path)
	if err != nil {
		node = path
	}
	r.mu.Lock()
	r.state = nil
	r.off = filepath.Join(r.roots.sys, filepath.Base(node), "device", "inhibited")
	r.mu.Unlock()
	r.opts.Logger.Info("reader opened", "reader", r.opts.Name, "device", r.opts.Device, "path", node)
}

// listen reads until the device is lost or ctx ends.
func (r *Reader) listen(ctx context.Context, d *device, s *session) error {
	cut := events{layout: r.layout}
	buf := make([]byte, 128*r.layout)
	var list []event
	for {
		// The order matters: an end of the context that comes after this wait was set ends it, and one before is seen.
		if err := d.wait(s.due()); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := d.read(buf)
		if err != nil {
			return err
		}
		now := time.Now()
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

// note keeps count of damage.
func (r *Reader) note(f framing.Frame) {
	if f.Data == nil {
		return
	}
	remedy := r.damage.remedy(f.Data)
	if remedy == "" && bytes.IndexByte(f.Data, alien) >= 0 {
		remedy = "with keys that a US keyboard does not have: set the reader's keyboard country to US"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case remedy != "":
		r.damaged, r.remedy = r.damaged+1, remedy
	case r.damage.whole(f.Data): // what is no entry code says nothing about those that are
		r.damaged = 0
	}
}

// Check implements drivers.Checker: nil when the device is open and codes arrive undamaged. The error wraps
// drivers.ErrUnavailable or drivers.ErrLost while it is not open, and drivers.ErrGarbled when the scanner is set up for
// another keyboard country.
func (r *Reader) Check() error {
	r.mu.Lock()
	state, off, damaged, remedy := r.state, r.off, r.damaged, r.remedy
	r.mu.Unlock()
	switch {
	case state != nil:
		return state
	case damaged >= damagedLimit:
		return fmt.Errorf("%w: codes arrive damaged, %s", drivers.ErrGarbled, remedy)
	}
	switch text, err := os.ReadFile(off); {
	case errors.Is(err, os.ErrNotExist): // a kernel before 5.11, which has no such switch
	case err == nil && strings.TrimSpace(string(text)) == "1":
		return fmt.Errorf("%s is switched off by the system: write 0 to %s", r.String(), off)
	}
	return nil
}
