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

const keyboardFunction = "hid.reader"

// bootKeyboard is the report descriptor of HID 1.11, appendix E.6: modifiers, one reserved byte, five LEDs, six keys.
var bootKeyboard = []byte{
	0x05, 0x01, 0x09, 0x06, 0xa1, 0x01, 0x05, 0x07, 0x19, 0xe0, 0x29, 0xe7, 0x15, 0x00, 0x25, 0x01, 0x75, 0x01, 0x95, 0x08,
	0x81, 0x02, 0x95, 0x01, 0x75, 0x08, 0x81, 0x01, 0x95, 0x05, 0x75, 0x01, 0x05, 0x08, 0x19, 0x01, 0x29, 0x05, 0x91, 0x02,
	0x95, 0x01, 0x75, 0x03, 0x91, 0x01, 0x95, 0x06, 0x75, 0x08, 0x15, 0x00, 0x25, 0x65, 0x05, 0x07, 0x19, 0x00, 0x29, 0x65,
	0x81, 0x00, 0xc0,
}

// Keyboard is a scanner that types, as the guest plays it.
type Keyboard interface {
	Replug() error
	Unplug() error
	Type(b []byte) error // in keys of a US keyboard; unplugged, it does nothing
	Node() string        // the kernel's present name of it, for example "/dev/input/event0"; empty while unplugged
	Close() error
}

// betweenKeys is the pace of a fast scanner.
const betweenKeys = time.Millisecond

// pause lets the time between two keys pass; began is when the first was pressed. The kernel holds no more than about six
// characters for a reader, and the machine's one processor does the scanner's work as well: on a busy host, which slows down
// both, the scanner waits for what it took itself several times over.
func pause(began time.Time) { time.Sleep(betweenKeys + 4*time.Since(began)) }

// USBKeyboard is a scanner set to keyboard (USB HID) in a port of this machine.
type USBKeyboard struct {
	gadget *Gadget

	mu    sync.Mutex
	own   *os.File // the scanner's own end, /dev/hidg0; nil while unplugged
	node  string
	other *eavesdropper
}

// NewUSBKeyboard makes a scanner and plugs it in. To the kernel it is 1d6b:0104.
func NewUSBKeyboard(name string) (*USBKeyboard, error) {
	g, err := newGadget(name, keyboardFunction, map[string]string{
		"protocol": "1", "subclass": "1", "report_length": "8", "report_desc": string(bootKeyboard),
	})
	if err != nil {
		return nil, err
	}
	k := &USBKeyboard{gadget: g}
	return k, k.Replug()
}

// Replug implements Keyboard. It returns when the kernel has the input device.
func (k *USBKeyboard) Replug() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.own != nil {
		return nil
	}
	if err := k.gadget.plug(); err != nil {
		return err
	}
	event, err := k.gadget.find("input", "event")
	if err != nil {
		return err
	}
	k.node = filepath.Join("/dev/input", event)
	if k.other, err = eavesdrop(k.node); err != nil {
		return err
	}
	k.own, err = openSoon("/dev/hidg0")
	return err
}

// Unplug implements Keyboard. A key that is down is never let go.
func (k *USBKeyboard) Unplug() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.own == nil {
		return nil
	}
	err := errors.Join(k.own.Close(), k.gadget.unplug(), k.gadget.gone("input", "event"), k.other.close())
	k.own, k.node = nil, ""
	return err
}

// Type implements Keyboard: a report with the key, and one without, for each character.
func (k *USBKeyboard) Type(b []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.own == nil {
		return nil
	}
	if err := k.own.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	for _, c := range b {
		began := time.Now()
		on, err := keyFor(c)
		if err != nil {
			return err
		}
		down := [8]byte{2: on.usage}
		if on.shift {
			down[0] = shiftBit
		}
		for _, report := range [][8]byte{down, {}} {
			if _, err := k.own.Write(report[:]); err != nil {
				return fmt.Errorf("the scanner cannot type: %w", err)
			}
		}
		pause(began)
	}
	return nil
}

// Node implements Keyboard.
func (k *USBKeyboard) Node() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.node
}

// Overheard returns how many events another program got since the scanner was plugged in.
func (k *USBKeyboard) Overheard() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.other.count()
}

// Close implements Keyboard.
func (k *USBKeyboard) Close() error {
	return errors.Join(k.Unplug(), k.gadget.remove(keyboardFunction))
}

// openSoon opens a device that the kernel is about to make, non-blocking.
func openSoon(path string) (f *os.File, err error) {
	err = await(path, func() (bool, error) {
		var err error
		f, err = os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV) {
			return false, nil
		}
		return err == nil, err
	})
	return f, err
}

// eavesdropper is another program that reads an input device, as a console or a desktop does with every keyboard. Without
// one the kernel would not even ask a USB keyboard for keys while the driver is away.
type eavesdropper struct {
	file  *os.File
	ended chan struct{}

	mu sync.Mutex
	n  int
}

func eavesdrop(node string) (*eavesdropper, error) {
	f, err := openSoon(node)
	if err != nil {
		return nil, err
	}
	e := &eavesdropper{file: f, ended: make(chan struct{})}
	go func() {
		defer close(e.ended)
		buf := make([]byte, 64*eventSize)
		for {
			n, err := f.Read(buf)
			if err != nil {
				return // unplugged, or closed
			}
			e.mu.Lock()
			e.n += n / eventSize
			e.mu.Unlock()
		}
	}()
	return e, nil
}

func (e *eavesdropper) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.n
}

func (e *eavesdropper) close() error {
	err := e.file.Close()
	<-e.ended
	return err
}
