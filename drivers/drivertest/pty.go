// Package drivertest has what drivers and their users are tested with: fakes of the contracts, a serial line without
// hardware, simulators of reader families, and the conformance suite that every Reader runs.
package drivertest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/drivers/internal/device"
)

// Pty is the device's end of a serial line made of a pseudo terminal. A symbolic link stands for the name by which the
// reader is known, as /dev/serial/by-id does, and leads to another terminal after each replug. It is safe for concurrent
// use.
type Pty struct {
	link string

	mu     sync.Mutex
	master *os.File // nil while unplugged
	slave  *os.File // kept open so that the line lives on between two openings
	typing sync.Mutex
}

// Hangup is a way in which a device goes away.
type Hangup uint8

const (
	Closed Hangup = iota // the master is closed: a blocked read fails with EIO
	HungUp               // the terminal is hung up, as with a USB device that is pulled: reads return nothing at once, for ever; needs root
)

// OpenPty plugs a line in and makes link lead to it.
func OpenPty(link string) (*Pty, error) {
	p := &Pty{link: link}
	return p, p.Replug()
}

// Path returns the name a driver opens.
func (p *Pty) Path() string { return p.link }

// Replug plugs the device in, as a terminal of another number. It does nothing if it is plugged in.
func (p *Pty) Replug() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.master != nil {
		return nil
	}
	master, slave, err := openPty()
	if err != nil {
		return fmt.Errorf("opening a pseudo terminal: %w", err)
	}
	err = makeRaw(slave)
	if err == nil {
		next := filepath.Join(filepath.Dir(p.link), "."+filepath.Base(p.link)+".next")
		if err = os.Symlink(slave.Name(), next); err == nil {
			err = os.Rename(next, p.link)
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("plugging in %s: %w", p.link, err), slave.Close(), master.Close())
	}
	p.master, p.slave = master, slave
	return nil
}

// openPty returns both ends of a new pseudo terminal. The package pty leaves the master in blocking mode, in which closing
// it waits for a read under way and so never hangs up the line; ours is not.
func openPty() (master, slave *os.File, err error) {
	blocking, slave, err := pty.Open()
	if err != nil {
		return nil, nil, err
	}
	defer blocking.Close()
	fd, err := unix.FcntlInt(blocking.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return nil, nil, errors.Join(err, slave.Close())
	}
	return os.NewFile(uintptr(fd), blocking.Name()), slave, nil
}

// makeRaw keeps the terminal from echoing and gathering lines before a driver has set it up.
func makeRaw(f *os.File) error {
	return device.Control(f, func(fd int) error {
		t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil {
			return err
		}
		t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
		t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
		return unix.IoctlSetTermios(fd, unix.TCSETS, t)
	})
}

// Unplug takes the device away. It does nothing if it is not plugged in.
func (p *Pty) Unplug(how Hangup) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.master == nil {
		return nil
	}
	err := os.Remove(p.link)
	if how == HungUp {
		const tiocvhangup = 0x5437
		err = errors.Join(err, device.Control(p.slave, func(fd int) error { return unix.IoctlSetInt(fd, tiocvhangup, 0) }))
	}
	err = errors.Join(err, p.master.Close(), p.slave.Close())
	p.master, p.slave = nil, nil
	return err
}

// Close unplugs the device for good.
func (p *Pty) Close() error { return p.Unplug(Closed) }

// Write sends b to the driver as the device would. Bytes sent while it is unplugged, or while it is being unplugged, go
// nowhere; they count as written.
func (p *Pty) Write(b []byte) (int, error) {
	return p.writeTo(p.plugged(), b)
}

// writeTo sends b over one plugging-in of the device, which may have ended since.
func (p *Pty) writeTo(m *os.File, b []byte) (int, error) {
	p.typing.Lock()
	defer p.typing.Unlock()
	if m != nil {
		if _, err := m.Write(b); err != nil && p.plugged() == m {
			return 0, fmt.Errorf("writing to the line: %w", err)
		}
	}
	return len(b), nil
}

// Read receives what the driver sends to the device. It fails with os.ErrClosed when the device is unplugged.
func (p *Pty) Read(b []byte) (int, error) {
	return p.readFrom(p.plugged(), b)
}

// readFrom receives what the driver sends over one plugging-in of the device.
func (p *Pty) readFrom(m *os.File, b []byte) (int, error) {
	if m == nil {
		return 0, os.ErrClosed
	}
	n, err := m.Read(b)
	if err != nil && p.plugged() != m {
		return 0, os.ErrClosed
	}
	return n, err
}

func (p *Pty) plugged() *os.File {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.master
}

// Drained waits until the driver has taken everything that was sent, the device is unplugged, or the time is up. It
// tells whether nothing is waiting.
func (p *Pty) Drained(within time.Duration) bool {
	for deadline := time.Now().Add(within); ; time.Sleep(200 * time.Microsecond) {
		n, err := p.waiting()
		if n == 0 || err != nil {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

// waiting returns how many bytes lie in the terminal for the driver to read.
func (p *Pty) waiting() (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.slave == nil {
		return 0, os.ErrClosed
	}
	return device.Unread(p.slave)
}
