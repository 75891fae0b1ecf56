package guest

import (
	"errors"
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

// USBKeyboard is a scanner set to keyboard (USB HID) in a port of this machine.
type USBKeyboard struct {
	usbReader

	mu    sync.Mutex
	node  string // empty while unplugged
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
	k := &USBKeyboard{}
	k.usbReader = usbReader{gadget: g, class: "input", prefix: "event", plugged: k.plugged, pulled: k.pulled}
	return k, k.Replug()
}

// plugged opens the scanner's own end, /dev/hidg0, and lets another program read the keyboard.
func (k *USBKeyboard) plugged(event string) (*os.File, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.node = filepath.Join("/dev/input", event)
	var err error
	if k.other, err = eavesdrop(k.node); err != nil {
		return nil, err
	}
	return openSoon("/dev/hidg0")
}

func (k *USBKeyboard) pulled() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.node = ""
	return k.other.close()
}

// Type implements Keyboard: a report with the key, and one without, for each character.
func (k *USBKeyboard) Type(b []byte) error {
	for _, c := range b {
		on, err := keyFor(c)
		if err != nil {
			return err
		}
		down := [8]byte{2: on.usage}
		if on.shift {
			down[0] = shiftBit
		}
		for _, report := range [][8]byte{down, {}} {
			if err := k.send(report[:]); err != nil {
				return err
			}
		}
		time.Sleep(betweenKeys)
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
