package netscan

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/internal/device"
)

// Reader is one socket on which a scan service delivers. It implements drivers.Reader; its methods other than Run are safe
// for concurrent use.
type Reader struct {
	opts    Options
	network string
	address netip.AddrPort
	input   *device.Input
	now     func() time.Time               // the clock by which silence is measured
	bound   atomic.Pointer[netip.AddrPort] // where it listens, nil while it is not open
}

// New checks the options and returns a reader that Run will open. Its errors say which option is wrong.
func New(opts Options) (*Reader, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("socket reader %q: %w", opts.Name, err)
	}
	network, address, err := ParseListen(opts.Listen)
	if err != nil {
		return nil, fmt.Errorf("socket reader %q: %w", opts.Name, err)
	}
	return &Reader{opts: opts, network: network, address: address, input: device.NewInput(opts.Name), now: time.Now}, nil
}

// String names the reader for people.
func (r *Reader) String() string { return fmt.Sprintf("socket %s (%s)", r.opts.Listen, r.opts.Name) }

// Addr returns where the socket listens, which tells the port if any was asked for, and whether it is open.
func (r *Reader) Addr() (netip.AddrPort, bool) {
	at := r.bound.Load()
	if at == nil {
		return netip.AddrPort{}, false
	}
	return *at, true
}

// Run implements drivers.Reader. Socket and connections are closed before it returns.
func (r *Reader) Run(ctx context.Context, emit func(drivers.Read)) error {
	defer r.bound.Store(nil)
	return r.input.Run(ctx, func() error {
		frame := r.input.Frames(ctx, emit, fmt.Sprintf("%[1]s에 바이트는 오지만 코드가 아닙니다: 스캔 서비스의 출력과 terminator(현재 %[2]s)를 확인하세요"+
			" / bytes arrive at %[1]s but no code: check the scan service's output and terminator (now %[2]s)",
			r.opts.Listen, r.opts.Framing.Terminator))
		if r.network == "udp" {
			return r.serveDatagrams(ctx, frame)
		}
		return r.serveConnections(ctx, frame)
	})
}

func (r *Reader) opened(at netip.AddrPort) {
	r.bound.Store(&at)
	r.input.Opened()
	r.opts.Logger.Info("reader opened", "reader", r.opts.Name, "network", r.network, "address", at.String())
}

// Check implements drivers.Checker: nil when the socket is open and what arrives on it looks like codes. Whether a service
// is connected says nothing: some connect for each code. The error wraps drivers.ErrUnavailable or drivers.ErrLost while
// the socket is not open, and drivers.ErrGarbled when settings spoil codes.
func (r *Reader) Check() error { return r.input.Check() }

// hints are for a socket that cannot be opened.
var hints = device.Hints{
	device.NewHint("another program listens there: end it, or choose another port here and in the scan service", unix.EADDRINUSE),
	device.NewHint("no permission: choose a port above 1023", fs.ErrPermission),
	device.NewHint("this device has no such address: use 127.0.0.1", unix.EADDRNOTAVAIL, unix.EAFNOSUPPORT),
}

func explain(listen string, err error) error { return hints.Explain("listening on "+listen, err) }
