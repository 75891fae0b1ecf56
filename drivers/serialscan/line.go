package serialscan

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/tarm/serial"
	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/internal/device"
)

// readWait is how long a read waits for the first byte: the shortest a Linux terminal knows. It bounds how long the end
// of a context goes unnoticed.
const readWait = 100 * time.Millisecond

// line is an open serial line. Its owner is the goroutine that reads: nobody else may close it, since closing waits for
// the read.
type line struct {
	port *serial.Port
	// lock is a second descriptor of the same line. It holds the advisory lock, which programs that ask for one respect,
	// and being non-blocking it takes the writes: one to a device that takes no bytes must not stop the reading.
	lock  int
	quick int // how many reads in a row ended at once and empty-handed
}

// openLine opens the device at path, alone. Errors wrap drivers.ErrUnavailable and say what to do.
func openLine(path string, baud int) (*line, error) {
	lock, err := lockLine(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", drivers.ErrUnavailable, err)
	}
	return connectLine(lock, path, baud)
}

// connectLine opens a line that is locked and empty. What has come since then is read.
func connectLine(lock int, path string, baud int) (*line, error) {
	port, err := serial.OpenPort(&serial.Config{Name: path, Baud: baud, ReadTimeout: readWait})
	if err != nil {
		unix.Close(lock)
		return nil, fmt.Errorf("%w: %w", drivers.ErrUnavailable, explain(path, err))
	}
	return &line{port: port, lock: lock}, nil
}

// lockLine opens the line for us alone and discards what waited in it: what a reader sent while nobody listened is of no use to
// anyone now.
func lockLine(path string) (int, error) {
	var fd int
	err := device.Uninterrupted(func() (err error) {
		fd, err = unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, explain(path, err)
	}
	if err := seizeLine(fd, path); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func seizeLine(fd int, path string) error {
	t, err := checkLine(fd, path)
	if err != nil {
		return err
	}
	if err := device.Uninterrupted(func() error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("%s is in use by another program: two readers of one line steal each other's bytes", path)
		}
		return fmt.Errorf("locking %s: %w", path, err)
	}
	// From here on nothing may be lost: a line as the system leaves it gathers lines, echoes, and empties itself at ETX.
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, t); err != nil {
		return fmt.Errorf("setting up %s: %w", path, explain(path, err))
	}
	if err := unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIOFLUSH); err != nil {
		return fmt.Errorf("discarding what waited in %s: %w", path, explain(path, err))
	}
	return nil
}

// checkLine refuses what is no serial line: anything but a terminal, and the terminals of the console. It returns how the line
// is set up.
func checkLine(fd int, path string) (*unix.Termios, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, explain(path, err)
	}
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, explain(path, err)
	}
	// Numbers from the kernel's admin-guide/devices.txt: 4, below 64, are virtual consoles; 5 are /dev/tty, console, ptmx.
	major, minor := unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))
	if major == 4 && minor < 64 || major == 5 {
		return nil, fmt.Errorf("%s is a console, not a reader: use the path below /dev/serial/by-id", path)
	}
	return t, nil
}

// hints are for a line that cannot be opened.
var hints = device.Hints{
	device.NewHint("there is no such device: is the reader plugged in, and set to serial (USB-CDC), not to keyboard?", fs.ErrNotExist),
	device.NewHint("no permission: add the gate's user to the group dialout", fs.ErrPermission),
	device.NewHint("it is in use by another program", unix.EBUSY),
	device.NewHint("it is not a serial line: use the path below /dev/serial/by-id", unix.ENOTTY, unix.EINVAL, unix.EISDIR),
	device.Unplugged,
}

func explain(path string, err error) error { return hints.Explain("opening "+path, err) }

// read waits up to readWait for bytes. No bytes and no error mean that the wait was in vain.
func (l *line) read(buf []byte) (int, error) {
	began := time.Now()
	n, err := l.port.Read(buf)
	if n > 0 {
		l.quick = 0
		return n, nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("%w: %w", drivers.ErrLost, err)
	}
	// A wait in vain and a device that is gone look the same but for the time they take.
	if time.Since(began) >= readWait/2 {
		l.quick = 0
		return 0, nil
	}
	if l.quick++; l.quick >= 2 {
		return 0, fmt.Errorf("%w: the line was hung up", drivers.ErrLost)
	}
	return 0, errQuick
}

// errQuick means that a read ended before its time. Nothing follows from one: neither silence nor loss.
var errQuick = errors.New("read ended before its time")

// write hands b to the device without waiting. What does not fit is given up: the command is repeated when no answer
// comes.
func (l *line) write(b []byte) error {
	return device.Uninterrupted(func() error {
		n, err := unix.Write(l.lock, b)
		if err == nil && n < len(b) {
			return fmt.Errorf("device took %d of %d bytes", n, len(b))
		}
		return err
	})
}

func (l *line) close() error {
	return errors.Join(l.port.Close(), unix.Close(l.lock))
}
