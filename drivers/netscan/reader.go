package netscan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/framing"
)

// garbledLimit is how many frames of noise in a row count as a service that is set up wrongly.
const garbledLimit = 5

// Reader is one socket on which a scan service delivers. It implements drivers.Reader; its methods other than Run are safe
// for concurrent use.
type Reader struct {
	opts    Options
	network string
	address netip.AddrPort

	mu      sync.Mutex
	state   error          // why the socket is not open; nil while it is
	bound   netip.AddrPort // where it listens, while it is open
	garbled int            // frames of noise since the last good one
}

// New checks the options and returns a reader that Run will open. Its errors say which option is wrong.
func New(o Options) (*Reader, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("socket reader %q: %w", o.Name, err)
	}
	network, address, err := ParseListen(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("socket reader %q: %w", o.Name, err)
	}
	return &Reader{opts: o, network: network, address: address, state: fmt.Errorf("%w: not opened yet", drivers.ErrUnavailable)}, nil
}

// String names the reader for people.
func (r *Reader) String() string { return fmt.Sprintf("socket %s (%s)", r.opts.Listen, r.opts.Name) }

// Addr returns where the socket listens, which tells the port if any was asked for, and whether it is open.
func (r *Reader) Addr() (netip.AddrPort, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bound, r.bound.IsValid()
}

// Run implements drivers.Reader. Socket and connections are closed before it returns.
func (r *Reader) Run(ctx context.Context, emit func(drivers.Read)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var one sync.Mutex // one frame at a time, from however many connections
	frame := func(f framing.Frame) {
		one.Lock()
		defer one.Unlock()
		r.note(f)
		if f.Data != nil && ctx.Err() == nil {
			emit(drivers.Read{Data: f.Data, At: f.At, Reader: r.opts.Name})
		}
	}
	var err error
	if r.network == "udp" {
		err = r.serveDatagrams(ctx, frame)
	} else {
		err = r.serveConnections(ctx, frame)
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	r.mu.Lock()
	r.state, r.bound, r.garbled = err, netip.AddrPort{}, 0
	if ctx.Err() != nil {
		r.state = fmt.Errorf("%w: closed", drivers.ErrUnavailable)
	}
	r.mu.Unlock()
	return err
}

func (r *Reader) opened(at netip.AddrPort) {
	r.mu.Lock()
	r.state, r.bound = nil, at
	r.mu.Unlock()
	r.opts.Logger.Info("reader opened", "reader", r.opts.Name, "network", r.network, "address", at.String())
}

// note keeps count of noise.
func (r *Reader) note(f framing.Frame) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.Garbled {
		r.garbled++
		return
	}
	r.garbled = 0
}

// Check implements drivers.Checker: nil when the socket is open and what arrives on it looks like codes. Whether a service
// is connected says nothing: some connect for each code. The error wraps drivers.ErrUnavailable or drivers.ErrLost while
// the socket is not open, and drivers.ErrGarbled when only noise arrives.
func (r *Reader) Check() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.state != nil:
		return r.state
	case r.garbled >= garbledLimit:
		return fmt.Errorf("%w: bytes arrive at %s but no code: check the scan service's output and terminator (now %s)", drivers.ErrGarbled, r.opts.Listen, r.opts.Framing.Terminator)
	default:
		return nil
	}
}

// explain puts an error of the system into words for a technician.
func explain(listen string, err error) error {
	var words string
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		words = "another program listens there: end it, or choose another port here and in the scan service"
	case errors.Is(err, fs.ErrPermission):
		words = "no permission: choose a port above 1023"
	case errors.Is(err, unix.EADDRNOTAVAIL), errors.Is(err, unix.EAFNOSUPPORT):
		words = "this device has no such address: use 127.0.0.1"
	default:
		return fmt.Errorf("listening on %s: %w", listen, err)
	}
	return fmt.Errorf("listening on %s: %s (%w)", listen, words, err)
}
