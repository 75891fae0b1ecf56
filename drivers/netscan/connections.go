package netscan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/framing"
	"github.com/kipass/kipass/drivers/internal/device"
	"github.com/kipass/kipass/internal/peer"
)

// acceptPause is how long to wait when a connection cannot be taken for now.
const acceptPause = 100 * time.Millisecond

// serveConnections takes codes over TCP or a unix socket until ctx ends or the socket fails.
func (r *Reader) serveConnections(ctx context.Context, allowed senders, frame func(framing.Frame)) error {
	listener, err := r.listen()
	if err != nil {
		return fmt.Errorf("%w: %w", drivers.ErrUnavailable, explain(r.opts.Listen, err))
	}
	all := connections{max: r.opts.Connections, open: map[*connection]struct{}{}}
	defer all.end()
	shut := func() { _ = listener.Close() }
	defer shut()
	defer device.WhenDone(ctx, shut)()
	r.opened(listener.Addr())
	for {
		accepted, err := listener.Accept()
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
		conn := accepted.(socket)
		if words := r.refused(conn, allowed); words != "" {
			r.turnAway(words)
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

// socket is what connections over TCP and over a unix socket have in common.
type socket interface {
	net.Conn
	syscall.Conn
}

// refused says, in words for the technician, why a connection is not taken; "" if it is.
func (r *Reader) refused(conn socket, allowed senders) string {
	// From another address of this device a loopback address can be reached too, but no scan service does so.
	if from, ok := conn.RemoteAddr().(*net.TCPAddr); ok && !loopback(from.AddrPort().Addr()) {
		return hostWords
	}
	return allowed.refuse(func() (uint32, error) { return peer.User(conn) })
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
	var first opening
	for {
		if err := c.conn.SetReadDeadline(device.Deadline(until(framer, last), r.now())); err != nil {
			return err
		}
		n, err := c.conn.Read(buf)
		if n > 0 {
			last = r.now()
			c.touch(last)
			endless += n
			if first.browses(buf[:n]) {
				r.turnAway(webWords)
				return errBrowser
			}
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
			if first.browses([]byte("\n")) {
				r.turnAway(webWords)
				return errBrowser
			}
			framer.End(counted)
			return nil
		case err != nil:
			return err // what came of a code is torn
		case endless > r.opts.Endless:
			return fmt.Errorf("%d bytes came without a code", endless)
		}
	}
}

var errBrowser = errors.New("a web browser or program sends")

// opening is how a connection began, until it is known who sends. A silence ends a frame but not the opening, so that a slow
// browser is one too.
type opening struct {
	bytes []byte
	known bool
}

// browses takes bytes that came and reports whether it is a browser that sends.
func (o *opening) browses(b []byte) bool {
	if o.known {
		return false
	}
	o.bytes = append(o.bytes, b...)
	v := judge(o.bytes)
	if o.known = v != open; o.known {
		o.bytes = nil
	}
	return v == browses
}

// until returns when a silence of the connection would mean something; the zero time if it would not.
func until(framer *framing.Framer, last time.Time) time.Time {
	silence := framer.Silence()
	if silence == 0 {
		return time.Time{}
	}
	return last.Add(silence)
}

// connection is one of those a scan service made.
type connection struct {
	conn socket

	mu   sync.Mutex
	used bool      // bytes came
	last time.Time // when bytes came last, or it began
}

func (c *connection) touch(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last, c.used = at, true
}

// rank orders connections by what is lost with them: those that never sent anything first, as browsers open ahead of need, then
// those silent for longest.
func (c *connection) rank() (used bool, last time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used, c.last
}

func (c *connection) before(other *connection) bool {
	used, last := c.rank()
	otherUsed, otherLast := other.rank()
	if used != otherUsed {
		return otherUsed
	}
	return last.Before(otherLast)
}

// connections has those there are and owns the goroutines that read them. begin and end are called by one goroutine.
type connections struct {
	max     int
	readers sync.WaitGroup

	mu   sync.Mutex
	open map[*connection]struct{}
}

// begin reads a new connection. If there are too many it closes the one with which least is lost: a service that connects anew
// without having closed must not lock itself out.
func (s *connections) begin(conn socket, now time.Time, read func(*connection)) {
	c := &connection{conn: conn, last: now}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) >= s.max {
		var least *connection
		for other := range s.open {
			if least == nil || other.before(least) {
				least = other
			}
		}
		delete(s.open, least)
		_ = least.conn.Close()
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
