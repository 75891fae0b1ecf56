package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	gadgets = "/sys/kernel/config/usb_gadget"
	port    = "dummy_udc.0" // the controller that is plugged into a USB port of the same machine
)

// patience bounds every wait for the kernel. It is there to end a machine that hangs; no test that passes waits for it.
const patience = 5 * time.Minute

// Gadget is a USB device made of the kernel's gadget framework (Documentation/usb/gadget_configfs.rst). Plugging it in and
// out is, for the side that has it in a port, what it is with a real one.
type Gadget struct {
	dir      string
	function string // what it does, for example "acm.reader"
	serial   string
	plugged  bool
}

// newGadget makes a device that is not plugged in, with one function, and writes the function's settings.
func newGadget(name, function string, settings map[string]string) (*Gadget, error) {
	g := &Gadget{dir: filepath.Join(gadgets, name), function: function, serial: "HIL-" + name}
	attributes := []attribute{
		{"idVendor", "0x1d6b"}, {"idProduct", "0x0104"},
		{"strings/0x409/serialnumber", g.serial}, {"strings/0x409/manufacturer", "Kipass"}, {"strings/0x409/product", "Reader"},
		{"configs/c.1/strings/0x409/configuration", "reader"},
	}
	for name, text := range settings {
		attributes = append(attributes, attribute{filepath.Join("functions", function, name), text})
	}
	err := configure(g.dir, attributes)
	if err == nil {
		err = os.MkdirAll(filepath.Join(g.dir, "functions", function), 0o755)
	}
	if err == nil {
		err = os.Symlink(filepath.Join(g.dir, "functions", function), filepath.Join(g.dir, "configs/c.1", function))
	}
	if err != nil {
		return nil, fmt.Errorf("making a USB device: %w", err)
	}
	return g, nil
}

// attribute is a file of the kernel's configfs and what is written to it.
type attribute struct{ path, text string }

// configure writes attributes below dir, in their order. The folders come into being on the way, and with each the kernel's
// object of that name.
func configure(dir string, attributes []attribute) error {
	for _, a := range attributes {
		path := filepath.Join(dir, a.path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(a.text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// plug puts the device into its port.
func (g *Gadget) plug() error {
	if g.plugged {
		return nil
	}
	// The port is free again a moment after another device has left it.
	err := await("the USB port", func() (bool, error) {
		err := os.WriteFile(filepath.Join(g.dir, "UDC"), []byte(port), 0o644)
		if errors.Is(err, unix.EBUSY) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("plugging in: %w", err)
	}
	g.plugged = true
	return nil
}

// unplug pulls the device. It is gone when this returns, whatever was on its way.
func (g *Gadget) unplug() error {
	if !g.plugged {
		return nil
	}
	if err := os.WriteFile(filepath.Join(g.dir, "UDC"), []byte("\n"), 0o644); err != nil {
		return fmt.Errorf("unplugging: %w", err)
	}
	g.plugged = false
	return nil
}

// remove unplugs the device and makes the kernel forget it.
func (g *Gadget) remove() error {
	err := g.unplug()
	err = errors.Join(err, os.Remove(filepath.Join(g.dir, "configs/c.1", g.function)))
	for _, dir := range []string{"configs/c.1/strings/0x409", "configs/c.1", "functions/" + g.function, "strings/0x409", ""} {
		err = errors.Join(err, os.Remove(filepath.Join(g.dir, dir)))
	}
	return err
}

// find returns the node in /dev of the class, for example "tty" or "input", that belongs to the device in its port, for
// example "ttyACM0". prefix is what its name begins with.
func (g *Gadget) find(class, prefix string) (string, error) {
	var node string
	err := await("the kernel to find the USB device", func() (bool, error) {
		var err error
		node, err = g.node(class, prefix)
		return node != "", err
	})
	return node, err
}

// gone waits until the kernel has noticed that the device was pulled.
func (g *Gadget) gone(class, prefix string) error {
	return await("the kernel to miss the USB device", func() (bool, error) {
		node, err := g.node(class, prefix)
		return node == "", err
	})
}

// node returns what find does, or "".
func (g *Gadget) node(class, prefix string) (string, error) {
	nodes, err := filepath.Glob(filepath.Join("/sys/class", class, prefix+"*"))
	if err != nil {
		return "", err
	}
	for _, n := range nodes {
		if g.owns(n) {
			return filepath.Base(n), nil
		}
	}
	return "", nil
}

// owns tells whether the device of a class belongs to the gadget: a folder above it has the gadget's serial number.
func (g *Gadget) owns(node string) bool {
	dir, err := filepath.EvalSymlinks(node)
	for err == nil && strings.HasPrefix(dir, "/sys/devices/") {
		if b, err := os.ReadFile(filepath.Join(dir, "serial")); err == nil {
			return strings.TrimSpace(string(b)) == g.serial
		}
		dir = filepath.Dir(dir)
	}
	return false
}

// await asks done, until it says yes, fails, or patience is at its end.
func await(what string, done func() (bool, error)) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %v for %s", patience, what)
		}
	}
}
