package device

import (
	"context"
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Uninterrupted makes a call of the system again for as long as a signal interrupts it.
func Uninterrupted(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Control makes a call on the descriptor of an open file or socket. Unlike os.File.Fd it leaves the descriptor
// non-blocking, so that a wait on it can still be ended.
func Control(c syscall.Conn, call func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) {
		inner = Uninterrupted(func() error { return call(int(fd)) })
	}); err != nil {
		return err
	}
	return inner
}

// Unread returns how many bytes wait to be read from a terminal, pipe or socket.
func Unread(c syscall.Conn) (n int, err error) {
	err = Control(c, func(fd int) (err error) {
		n, err = unix.IoctlGetInt(fd, unix.TIOCINQ)
		return err
	})
	return n, err
}

// Deadline turns a time of a reader's clock, which says now, into one that files and sockets understand: they know the
// system's clock alone. The zero time stays what it is.
func Deadline(at, now time.Time) time.Time {
	if at.IsZero() {
		return at
	}
	return time.Now().Add(at.Sub(now))
}

// WhenDone calls f once when ctx ends, to end a wait that knows no context. The function it returns is called when that
// wait is over: from then on f is neither called nor under way.
func WhenDone(ctx context.Context, f func()) (release func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		f()
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}
