package gpio

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/driver"
	"periph.io/x/conn/v3/driver/driverreg"
	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/gpio/gpioreg"
	"periph.io/x/host/v3/gpioioctl"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/internal/device"
)

// chipFiles are the kernel's GPIO chips.
const chipFiles = "/dev/gpiochip*"

// kernel is what this process knows of the kernel's lines. There is one because periph's registry is one.
//
// Of periph's host drivers only the one for the character device is loaded (gpioioctl, not the whole of package host):
// those for single boards write to the chip's registers behind the kernel's back, and sysfs numbers its lines anew with
// every kernel.
var kernel chips

type chips struct {
	mu     sync.Mutex
	driver driver.Impl // periph's driver, once it was asked for
	seen   string      // the chips that were there when it last looked
	wrong  error       // what it said then
	taken  map[*gpioioctl.GPIOLine]bool
}

// openLine finds a line; see [Line] for its name.
func openLine(name string) (pin, error) {
	kernel.mu.Lock()
	defer kernel.mu.Unlock()
	files, err := kernel.look()
	if err != nil {
		return nil, err
	}
	line := find(name)
	switch {
	case line == nil && kernel.wrong != nil:
		return nil, fmt.Errorf("looking for GPIO chips: %w: %w", kernel.wrong, drivers.ErrUnavailable)
	case line == nil:
		return nil, fmt.Errorf("no GPIO chip of %s has a line of that name, see gpioinfo: %w", strings.Join(files, ", "), drivers.ErrUnavailable)
	case kernel.taken[line]:
		return nil, fmt.Errorf("it is in use by this gate already: %w", drivers.ErrUnavailable)
	}
	if kernel.taken == nil {
		kernel.taken = map[*gpioioctl.GPIOLine]bool{}
	}
	kernel.taken[line] = true
	return &held{line}, nil
}

// held is a line no other part of the process gets.
type held struct{ line *gpioioctl.GPIOLine }

func (h *held) Out(l gpio.Level) error { return h.line.Out(l) }

// Close gives the line back. Periph forgets a failed request only in this way.
func (h *held) Close() {
	kernel.mu.Lock()
	defer kernel.mu.Unlock()
	h.line.Close()
	delete(kernel.taken, h.line)
}

// look lets periph look for chips if there are others than when it last did, and returns their files. What it found
// before stays open, also if it has gone since: periph closes some descriptors twice, and by then another file could
// have got the number.
func (c *chips) look() ([]string, error) {
	files, state, err := present()
	if err != nil || state == c.seen {
		return files, err
	}
	stdin, err := keepStdin()
	if err != nil {
		return nil, fmt.Errorf("before looking for GPIO chips: %w: %w", err, drivers.ErrUnavailable)
	}
	c.seen, c.wrong = state, errors.Join(c.load(), stdin())
	return files, nil
}

// present returns the chips' files, and a text that is the same as long as they are. Without any, or without permission
// for any, it returns an error that says what to do.
func present() ([]string, string, error) {
	files, err := filepath.Glob(chipFiles)
	if err != nil {
		return nil, "", err
	}
	if len(files) == 0 {
		return nil, "", fmt.Errorf("the kernel has no GPIO chip (%s): %w", chipFiles, drivers.ErrUnavailable)
	}
	var state strings.Builder
	denied := 0
	for _, file := range files {
		var s unix.Stat_t
		if err := unix.Stat(file, &s); err != nil {
			continue // gone since
		}
		if errors.Is(unix.Access(file, unix.R_OK), fs.ErrPermission) {
			denied++
		}
		fmt.Fprintln(&state, file, s.Ino, s.Rdev, s.Ctim.Nano())
	}
	if denied == len(files) {
		return nil, "", fmt.Errorf("no permission for %s: add the gate's user to the group gpio: %w", strings.Join(files, ", "), drivers.ErrUnavailable)
	}
	return files, state.String(), nil
}

// load lets periph's driver look. The first time periph's registry does, which keeps what it said for ever; later the
// driver itself, with the names of the lines it knows taken back, since it renames those it meets again.
func (c *chips) load() error {
	if c.driver != nil {
		for _, p := range gpioreg.All() {
			if err := gpioreg.Unregister(p.Name()); err != nil {
				return err
			}
		}
		_, err := c.driver.Init()
		return err
	}
	state, err := driverreg.Init()
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(state.Loaded, named); i >= 0 {
		c.driver = state.Loaded[i]
		return nil
	}
	for _, failed := range slices.Concat(state.Failed, state.Skipped) {
		if named(failed.D) {
			c.driver = failed.D
			return failed.Err
		}
	}
	return errors.New("periph has no driver for GPIO chips")
}

func named(d driver.Impl) bool { return d.String() == "ioctl-gpio" }

// find returns the line, of the chip found last if several have it, or nil.
func find(name string) *gpioioctl.GPIOLine {
	label, number, numbered := strings.Cut(name, ":")
	offset, err := strconv.Atoi(number)
	numbered = numbered && err == nil
	for _, chip := range slices.Backward(gpioioctl.Chips) {
		if line := chip.ByName(name); line != nil {
			return line
		}
		if numbered && (chip.Label() == label || chip.Name() == label) && offset >= 0 && offset < chip.LineCount() {
			return chip.ByNumber(offset)
		}
	}
	return nil
}

// keepStdin sees to it that descriptor 0 is open when the function it returns has been called: periph closes it when one
// chip appears under two names, as on a Raspberry Pi 5, and takes a line that then gets the number 0 for one not open.
func keepStdin() (restore func() error, err error) {
	null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil || null == 0 { // with number 0 it stays
		return func() error { return nil }, err
	}
	return func() error {
		defer func() { _ = unix.Close(null) }()
		if _, err := unix.FcntlInt(0, unix.F_GETFD, 0); !errors.Is(err, unix.EBADF) {
			return err
		}
		if err := unix.Dup3(null, 0, 0); err != nil {
			return fmt.Errorf("opening the standard input anew: %w", err)
		}
		return nil
	}, nil
}

// hints are for a call on a line that failed. Periph keeps the text of the system's error only.
var hints = device.Hints{
	device.NewHint("it is in use by another program or by the kernel, see gpioinfo", unix.EBUSY),
	device.NewHint("its GPIO chip has gone", unix.ENODEV),
	device.NewHint("it is an input for the kernel, or protected", unix.EPERM),
}

// plain puts periph's words for a failed call into a technician's.
func plain(err error) error {
	if words := hints.Words(err); words != "" {
		return errors.New(words)
	}
	return err
}
