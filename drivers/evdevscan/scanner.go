package evdevscan

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/internal/device"
)

// kernel is what is asked of an open input device beside reading. Devices for tests have one of their own.
type kernel interface {
	grab(fd int) error                             // takes all its events away from everybody else
	clock(fd int) error                            // makes its events bear CLOCK_BOOTTIME, which goes on while the machine sleeps
	keys(fd int, request uintptr) (*keySet, error) // asks for a bitmap of keys
}

// Requests of include/uapi/linux/input.h: direction, size of the argument, 'E', number. The encoding of the direction is
// that of include/uapi/asm-generic/ioctl.h, which amd64, arm64 and arm share.
const (
	eviocgrab     = 1<<30 | 4<<16 | 'E'<<8 | 0x90
	eviocsclockid = 1<<30 | 4<<16 | 'E'<<8 | 0xa0
	eviocgkey     = 2<<30 | keyCount/8<<16 | 'E'<<8 | 0x18         // the keys that are held; forgets key events not yet read
	eviocgbitKey  = 2<<30 | keyCount/8<<16 | 'E'<<8 | 0x20 + evKey // the keys there are
)

// linux is the real kernel.
type linux struct{}

func (linux) grab(fd int) error { return unix.IoctlSetInt(fd, eviocgrab, 1) }

func (linux) clock(fd int) error {
	return unix.IoctlSetPointerInt(fd, eviocsclockid, unix.CLOCK_BOOTTIME)
}

func (linux) keys(fd int, request uintptr) (*keySet, error) {
	var s keySet
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(&s))); errno != 0 {
		return nil, errno
	}
	return &s, nil
}

// scanner is an open input device that is ours alone. It is read by one goroutine; wait may be called by another.
type scanner struct {
	path   string
	file   *os.File
	kernel kernel
	timed  bool // its events bear a clock that never steps
}

// openScanner opens the device at path and grabs it. Errors wrap drivers.ErrUnavailable and say what to do.
func openScanner(path string, k kernel) (*scanner, error) {
	// Non-blocking from the start, so that the runtime's poller waits for it and a wait can be ended.
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", drivers.ErrUnavailable, explain(path, err))
	}
	d := &scanner{path: path, file: file, kernel: k}
	if err := d.seize(); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", drivers.ErrUnavailable, explain(path, err)), file.Close())
	}
	return d, nil
}

var errNoKeyboard = errors.New("it types no letters and digits: it is not the keyboard of a scanner")

func (d *scanner) seize() error {
	can, err := d.keys(eviocgbitKey)
	if err != nil {
		return err
	}
	if !can.typesCodes() {
		return errNoKeyboard
	}
	if err := device.Control(d.file, d.kernel.grab); err != nil {
		return err
	}
	// Old kernels do not have this clock. Without it two codes without terminator that came while this process
	// was starved look like one.
	d.timed = device.Control(d.file, d.kernel.clock) == nil
	return nil
}

func (d *scanner) keys(request uintptr) (s *keySet, err error) {
	err = device.Control(d.file, func(fd int) (err error) {
		s, err = d.kernel.keys(fd, request)
		return err
	})
	return s, err
}

// held returns the keys that are held down.
func (d *scanner) held() (*keySet, error) {
	s, err := d.keys(eviocgkey)
	if err != nil {
		return nil, fmt.Errorf("%w: asking %s which keys are held: %w", drivers.ErrLost, d.path, err)
	}
	return s, nil
}

// wait makes reads end at the time given, the zero time never.
func (d *scanner) wait(until time.Time) error {
	if err := d.file.SetReadDeadline(until); err != nil {
		return fmt.Errorf("%w: waiting for %s: %w", drivers.ErrLost, d.path, err)
	}
	return nil
}

// read waits for events. No bytes and no error mean that the wait was in vain: nothing had come by its end.
func (d *scanner) read(buf []byte) (int, error) {
	n, err := d.file.Read(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// The deadline is looked at before the device is, and what came in time to a starved process is no silence.
		err = device.Control(d.file, func(fd int) (err error) {
			n, err = unix.Read(fd, buf)
			if n == 0 && err == nil {
				err = io.EOF
			}
			return err
		})
		if errors.Is(err, unix.EAGAIN) {
			return 0, nil
		}
	}
	if err != nil {
		return 0, fmt.Errorf("%w: reading %s: %w", drivers.ErrLost, d.path, err)
	}
	return n, nil
}

func (d *scanner) close() error { return d.file.Close() }

// hints are for a device that cannot be opened.
var hints = device.Hints{
	device.NewHint("there is no such device: is the reader plugged in, and set to keyboard (USB HID), not to serial?", fs.ErrNotExist),
	device.NewHint("no permission: add the gate's user to the group input", fs.ErrPermission),
	device.NewHint("it is in use by another program, which has grabbed it: end that, perhaps a second gate or a scan service", unix.EBUSY),
	device.NewHint("it is not an input device: use a path below /dev/input/by-id", unix.ENOTTY, unix.EINVAL, unix.EISDIR),
	device.Unplugged,
}

func explain(path string, err error) error { return hints.Explain("opening "+path, err) }
