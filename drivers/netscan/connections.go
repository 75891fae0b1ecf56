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
	open := switchboard{most: r.opts.Connections, lines: map[*line]struct{}{}}
	defer open.end()
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
		open.begin(conn, func(l *line) {
			if err := r.listen(l, frame); err != nil {
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

// listen takes codes from one connection until it ends.
func (r *Reader) listen(l *line, frame func(framing.Frame)) error {
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
		if err := l.conn.SetReadDeadline(until); err != nil {
			return err
		}
		n, err := l.conn.Read(buf)
		if n > 0 {
			last = time.Now()
			l.heard(last)
			endless += n
			framer.Push(last, buf[:n], counted)
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			// The deadline is looked at before the socket is, and what came in time to a starved process is no silence.
			if n, err := device.Unread(l.conn); err == nil && n > 0 {
				last = time.Now()
			} else {
				framer.Idle(time.Now(), counted)
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

// line is one connection.
type line struct {
	conn *net.TCPConn

	mu   sync.Mutex
	last time.Time // when it last said something, or began
}

func (l *line) heard(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = at
}

func (l *line) lastHeard() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// switchboard has the connections there are and owns the goroutines that read them. begin and end are called by one
// goroutine.
type switchboard struct {
	most    int
	readers sync.WaitGroup

	mu    sync.Mutex
	lines map[*line]struct{}
}

// begin reads a new connection. If there are too many it closes the one that has been silent for longest: a service that
// connects anew without having closed must not lock itself out.
func (s *switchboard) begin(conn *net.TCPConn, read func(*line)) {
	l := &line{conn: conn, last: time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lines) >= s.most {
		var silent *line
		for other := range s.lines {
			if silent == nil || other.lastHeard().Before(silent.lastHeard()) {
				silent = other
			}
		}
		delete(s.lines, silent)
		_ = silent.conn.Close()
	}
	s.lines[l] = struct{}{}
	s.readers.Go(func() {
		read(l)
		_ = conn.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.lines, l)
	})
}

// end closes all connections and waits for those who read them.
func (s *switchboard) end() {
	s.mu.Lock()
	for l := range s.lines {
		_ = l.conn.Close()
	}
	s.mu.Unlock()
	s.readers.Wait()
}
