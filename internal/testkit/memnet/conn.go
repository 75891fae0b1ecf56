package memnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// maxUnread is how many bytes of one direction may be written before any is read; then writes wait.
const maxUnread = 64 << 10

// conn is one end of a connection: it reads what the other end writes.
type conn struct {
	in, out       *stream
	local, remote addr
}

func newConns(client, server addr) (a, b net.Conn) {
	up, down := newStream(), newStream()
	return &conn{down, up, client, server}, &conn{up, down, server, client}
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	if err != nil && err != io.EOF {
		err = c.fault("read", err)
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	if err != nil {
		err = c.fault("write", err)
	}
	return n, err
}

// Close may be called more than once, which is no error.
func (c *conn) Close() error {
	c.in.closeReader()
	c.out.closeWriter()
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.readBy, t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(&c.out.writeBy, t)
	return nil
}

func (c *conn) fault(op string, err error) error {
	return &net.OpError{Op: op, Net: "mem", Source: c.local, Addr: c.remote, Err: err}
}

// stream is one direction of a connection: what was written and not read yet. All waiting is on change.
type stream struct {
	mu              sync.Mutex
	change          sync.Cond // on mu
	unread          []byte
	ended           bool // the writing end was closed: after unread comes io.EOF
	deaf            bool // the reading end was closed: nothing more can be written
	readBy, writeBy deadline
}

func newStream() *stream {
	s := &stream{}
	s.change.L = &s.mu
	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.deaf:
			return 0, net.ErrClosed
		case s.readBy.passed():
			return 0, os.ErrDeadlineExceeded
		case len(s.unread) > 0 || len(p) == 0:
			n := copy(p, s.unread)
			s.unread = s.unread[n:]
			s.change.Broadcast()
			return n, nil
		case s.ended:
			return 0, io.EOF
		}
		s.change.Wait()
	}
}

func (s *stream) write(p []byte) (written int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.ended:
			return written, net.ErrClosed
		case s.writeBy.passed():
			return written, os.ErrDeadlineExceeded
		case s.deaf:
			return written, os.NewSyscallError("write", syscall.EPIPE)
		}
		if n := min(len(p), maxUnread-len(s.unread)); n > 0 {
			s.unread = append(s.unread, p[:n]...)
			written, p = written+n, p[n:]
			s.change.Broadcast()
		}
		if len(p) == 0 {
			return written, nil
		}
		s.change.Wait()
	}
}

func (s *stream) closeReader() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deaf, s.unread = true, nil
	s.change.Broadcast()
}

func (s *stream) closeWriter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.change.Broadcast()
}

// deadline is a time after which an operation fails; zero for none.
type deadline struct {
	at    time.Time
	timer *time.Timer // wakes those who wait, who then look at the time themselves
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (s *stream) setDeadline(d *deadline, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
	d.at = t
	if !t.IsZero() {
		d.timer = time.AfterFunc(time.Until(t), func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.change.Broadcast()
		})
	}
	s.change.Broadcast()
}
