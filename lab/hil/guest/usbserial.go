package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const serialFunction = "acm.reader"

// SerialReader is a 2D reader as a USB serial device (CDC-ACM) in a port of this machine. The driver opens Link, which
// leads to whatever number the kernel gave it, as udev's links in /dev/serial/by-id do.
type SerialReader struct {
	Link   string
	gadget *Gadget

	mu  sync.Mutex
	own *os.File // the reader's own end, /dev/ttyGS…; nil while unplugged
	end string
}

// NewSerialReader makes a reader and plugs it in.
func NewSerialReader(name string) (*SerialReader, error) {
	g, err := newGadget(name, serialFunction, nil)
	if err != nil {
		return nil, err
	}
	number, err := os.ReadFile(filepath.Join(g.dir, "functions", serialFunction, "port_num"))
	if err != nil {
		return nil, err
	}
	var n int
	if _, err := fmt.Sscan(string(number), &n); err != nil {
		return nil, fmt.Errorf("port number %q: %w", number, err)
	}
	r := &SerialReader{
		Link: "/dev/serial/by-id/usb-Kipass_Reader_" + g.serial + "-if00", gadget: g, end: fmt.Sprintf("/dev/ttyGS%d", n),
	}
	return r, r.Replug()
}

// Replug plugs the reader in and waits until the kernel has a line for it.
func (r *SerialReader) Replug() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.own != nil {
		return nil
	}
	if err := r.gadget.plug(); err != nil {
		return err
	}
	node, err := r.gadget.find("tty", "ttyACM")
	if err != nil {
		return err
	}
	if err := await("/dev/"+node, func() (bool, error) { _, err := os.Stat("/dev/" + node); return err == nil, nil }); err != nil {
		return err
	}
	own, err := os.OpenFile(r.end, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	if err := makeRaw(own); err != nil {
		return errors.Join(err, own.Close())
	}
	r.own = own
	next := r.Link + ".next"
	if err := os.Symlink("/dev/"+node, next); err != nil {
		return err
	}
	return os.Rename(next, r.Link)
}

// Unplug pulls the reader. What it had not yet handed to the port is lost with it.
func (r *SerialReader) Unplug() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.own == nil {
		return nil
	}
	err := errors.Join(r.gadget.unplug(), r.gadget.gone("tty", "ttyACM"), os.Remove(r.Link), r.own.Close())
	r.own = nil
	return err
}

// Type makes the reader send b. It returns when the reader has handed all of it on; unplugged, it does nothing.
func (r *SerialReader) Type(b []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.own == nil {
		return nil
	}
	if err := r.own.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := r.own.Write(b); err != nil {
		return fmt.Errorf("the reader cannot send: %w", err)
	}
	return nil
}

// Line returns the kernel's present name of the line, for example "/dev/ttyACM0".
func (r *SerialReader) Line() (string, error) { return os.Readlink(r.Link) }

// Close unplugs the reader for good.
func (r *SerialReader) Close() error {
	return errors.Join(r.Unplug(), r.gadget.remove(serialFunction))
}
