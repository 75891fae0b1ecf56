package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const serialFunction = "acm.reader"

// SerialReader is a 2D reader as a USB serial device (CDC-ACM) in a port of this machine. The driver opens Link, which
// leads to whatever number the kernel gave it, as udev's links in /dev/serial/by-id do.
type SerialReader struct {
	usbReader
	Link string
	end  string // the reader's own end, /dev/ttyGS…
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
	r := &SerialReader{Link: "/dev/serial/by-id/usb-Kipass_Reader_" + g.serial + "-if00", end: fmt.Sprintf("/dev/ttyGS%d", n)}
	r.usbReader = usbReader{
		gadget: g, class: "tty", prefix: "ttyACM", plugged: r.link, pulled: func() error { return os.Remove(r.Link) },
	}
	return r, r.Replug()
}

// link opens the reader's own end and lets Link lead to the line.
func (r *SerialReader) link(node string) (*os.File, error) {
	line := "/dev/" + node
	if err := await(line, func() (bool, error) { _, err := os.Stat(line); return err == nil, nil }); err != nil {
		return nil, err
	}
	own, err := os.OpenFile(r.end, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	next := r.Link + ".next"
	err = makeRaw(own)
	if err == nil {
		err = os.Symlink(line, next)
	}
	if err == nil {
		err = os.Rename(next, r.Link)
	}
	if err != nil {
		return nil, errors.Join(err, own.Close())
	}
	return own, nil
}

// Type makes the reader send b. It returns when the reader has handed all of it on; unplugged, it does nothing.
func (r *SerialReader) Type(b []byte) error { return r.send(b) }

// Line returns the kernel's present name of the line, for example "/dev/ttyACM0".
func (r *SerialReader) Line() (string, error) { return os.Readlink(r.Link) }
