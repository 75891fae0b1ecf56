package guest

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// usbReader is what readers on USB have in common, whatever they speak: a device in a port of this machine, and the reader's
// own end of it.
type usbReader struct {
	gadget        *Gadget
	class, prefix string // of the kernel's node for the device, for example "tty" and "ttyACM"
	// plugged opens the reader's own end when the kernel has made the node; pulled puts away what plugged has made beside
	// it.
	plugged func(node string) (own *os.File, err error)
	pulled  func() error

	mu  sync.Mutex
	own *os.File // nil while unplugged
}

// Replug plugs the reader in, if it is not, and returns when the kernel has found it.
func (r *usbReader) Replug() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.own != nil {
		return nil
	}
	if err := r.gadget.plug(); err != nil {
		return err
	}
	node, err := r.gadget.find(r.class, r.prefix)
	if err != nil {
		return err
	}
	r.own, err = r.plugged(node)
	return err
}

// Unplug pulls the reader and returns when the kernel has noticed. What was on its way is lost, and a key that is down is
// never let go.
func (r *usbReader) Unplug() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.own == nil {
		return nil
	}
	err := errors.Join(r.gadget.unplug(), r.gadget.gone(r.class, r.prefix), r.pulled(), r.own.Close())
	r.own = nil
	return err
}

// send hands b on, in one call. Unplugged, it does nothing.
func (r *usbReader) send(b []byte) error {
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

// Close unplugs the reader for good.
func (r *usbReader) Close() error { return errors.Join(r.Unplug(), r.gadget.remove()) }
