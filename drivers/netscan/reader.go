package netscan

import (
	"context"
	"fmt"
	"io/fs"
	"net"
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
	opts  Options
	place Place
	input *device.Input
	away  turnedAway
	now   func() time.Time               // the clock by which silence is measured
	bound atomic.Pointer[netip.AddrPort] // where it listens, nil while it is not open or has no such address
}

// New checks the options and returns a reader that Run will open. Its errors say which option is wrong.
func New(opts Options) (*Reader, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("socket reader %q: %w", opts.Name, err)
	}
	place, err := ParseListen(opts.Listen)
	if err != nil {
		return nil, fmt.Errorf("socket reader %q: %w", opts.Name, err)
	}
	r := &Reader{opts: opts, place: place, input: device.NewInput(opts.Name), now: time.Now}
	r.away.lines.Now = func() time.Time { return r.now() }
	return r, nil
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
		allowed, err := newSenders(r.opts.Users, r.place.Network)
		switch {
		case err != nil:
			return fmt.Errorf("%w: %w", drivers.ErrUnavailable, err)
		case r.place.Network == "udp":
			return r.serveDatagrams(ctx, allowed, frame)
		default:
			return r.serveConnections(ctx, allowed, frame)
		}
	})
}

func (r *Reader) opened(at net.Addr) {
	if at, err := netip.ParseAddrPort(at.String()); err == nil {
		r.bound.Store(&at)
	}
	r.input.Opened()
	r.opts.Logger.Info("reader opened", "reader", r.opts.Name, "network", r.place.Network, "address", at.String())
}

// Check implements drivers.Checker: nil when the socket is open, what arrives on it looks like codes, and nobody was turned away
// lately. Whether a service is connected says nothing: some connect for each code. The error
// wraps drivers.ErrUnavailable or drivers.ErrLost while the socket is not open, drivers.ErrGarbled when settings spoil codes, and drivers.ErrTurnedAway.
func (r *Reader) Check() error {
	if err := r.input.Check(); err != nil {
		return err
	}
	return r.away.check(r.now())
}

// hints are for a socket that cannot be opened.
var hints = device.Hints{
	device.NewHint("another program listens there: end it, or choose another port here and in the scan service", unix.EADDRINUSE),
	device.NewHint("add the gate's user to that group, then restart the gate", errGroup),
	device.NewHint("no permission: choose a port above 1023, or a folder in which the gate's user may write", fs.ErrPermission),
	device.NewHint("its folder is missing: make it, or use one that systemd makes (RuntimeDirectory)", fs.ErrNotExist),
	device.NewHint("make that folder writable for the gate's user alone", errFolder),
	device.NewHint("remove it, or choose another path", errTaken),
	device.NewHint("this device has no such address: use 127.0.0.1", unix.EADDRNOTAVAIL, unix.EAFNOSUPPORT),
}

func explain(listen string, err error) error { return hints.Explain("listening on "+listen, err) }
