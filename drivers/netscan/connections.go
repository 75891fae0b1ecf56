package netscan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/framing"
	"github.com/kipass/kipass/drivers/internal/device"
)

// acceptPause is how long to wait when a connection cannot be taken for now.
const acceptPause = 100 * time.Millisecond

// serveConnections takes codes over TCP until ctx ends or the socket fails.
func (r *Reader) serveConnections(ctx context.Context, frame func(framing.Frame)) error {
	listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(r.address))
	if err != nil {
		return fmt.Errorf("%w: %w", drivers.ErrUnavailable, explain(r.opts.Listen, err))
	}
	all := connections{max: r.opts.Connections, open: map[*connection]struct{}{}}
	defer all.end()
	shut := func() { _ = listener.Close() }
	defer shut()
	defer device.WhenDone(ctx, shut)()
	r.opened(listener.Addr().(*net.TCPAddr).AddrPort())
	for {
		conn, err := listener.AcceptTCP()
		switch {
		case err == nil:
		case passing(err):
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		default:
			return fmt.Errorf("%w: waiting on %s: %w", drivers.ErrLost, r.opts.Listen, err)
		}
		// From another address of this device a loopback address can be reached too, but no scan service does so.
		if from := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr(); !loopback(from) {
			r.opts.Logger.Warn("connection of another host refused", "reader", r.opts.Name, "from", from.String())
			_ = conn.Close()
			continue
		}
		all.begin(conn, r.now(), func(c *connection) {
			if err := r.read(c, frame); err != nil {
				r.opts.Logger.Debug("connection ended", "reader", r.opts.Name, "error", err)
			}
		})
	}
}

// passing tells whether an accept failed for a reason that may pass: the peer was gone already, or the system is short of
// something.
func passing(err error) bool {
	for _, e := range []error{unix.ECONNABORTED, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// read takes codes from one connection until it ends.
func (r *Reader) read(c *connection, frame func(framing.Frame)) error {
	endless := 0
	framer, counted := framing.New(r.opts.Framing), func(f framing.Frame) {
		if f.Data != nil {
			endless = 0
		}
		frame(f)
	}
	buf, last := make([]byte, 4096), time.Time{}
	for {
		var until time.Time
		if silence := framer.Silence(); silence > 0 {
			until = last.Add(silence)
		}
		if err := c.conn.SetReadDeadline(device.Deadline(until, r.now())); err != nil {
			return err
		}
		n, err := c.conn.Read(buf)
		if n > 0 {
			last = r.now()
			c.touch(last)
			endless += n
			framer.Push(last, buf[:n], counted)
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			// The deadline is looked at before the socket is, and what came in time to a starved process is no silence.
			if n, err := device.Unread(c.conn); err == nil && n > 0 {
				last = r.now()
			} else {
				framer.Idle(r.now(), counted)
			}
		case errors.Is(err, io.EOF):
			framer.End(counted)
			return nil
		case err != nil:
			return err // what came of a code is torn
		case endless > r.opts.Endless:
			return fmt.Errorf("%d bytes came without a code", endless)
		}
	}
}

// connection is one of those a scan service made.
type connection struct {
	conn *net.TCPConn

	mu   sync.Mutex
	last time.Time // when bytes came last, or it began
}

func (c *connection) touch(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = at
}

func (c *connection) lastActive() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// connections has those there are and owns the goroutines that read them. begin and end are called by one goroutine.
type connections struct {
	max     int
	readers sync.WaitGroup

	mu   sync.Mutex
	open map[*connection]struct{}
}

// begin reads a new connection. If there are too many it closes the one that has been silent for longest: a service that
// connects anew without having closed must not lock itself out.
func (s *connections) begin(conn *net.TCPConn, now time.Time, read func(*connection)) {
	c := &connection{conn: conn, last: now}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) >= s.max {
		var silent *connection
		for other := range s.open {
			if silent == nil || other.lastActive().Before(silent.lastActive()) {
				silent = other
			}
		}
		delete(s.open, silent)
		_ = silent.conn.Close()
	}
	s.open[c] = struct{}{}
	s.readers.Go(func() {
		read(c)
		_ = conn.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, c)
	})
}

// end closes all connections and waits for those who read them.
func (s *connections) end() {
	s.mu.Lock()
	for c := range s.open {
		_ = c.conn.Close()
	}
	s.mu.Unlock()
	s.readers.Wait()
}
