// Package device holds what every driver family needs around its device, so that none writes it again: what is wrong
// with it ([Fault]), errors of the system in a technician's words ([Hints]), pauses between attempts to open it
// ([Backoff]), the life of a reader from opening to loss ([Input]), the goroutine that owns an indicator ([Worker]), and
// a few calls on open descriptors.
package device

import (
	"fmt"
	"sync"

	"github.com/kipass/kipass/drivers"
)

// Faults of devices that are not open for a reason of our own. Both wrap [drivers.ErrUnavailable].
var (
	ErrNotOpened = fmt.Errorf("%w: not opened yet", drivers.ErrUnavailable)
	ErrHalted    = fmt.Errorf("%w: it was halted", drivers.ErrUnavailable)
)

// Fault is what is wrong with a device, as [drivers.Checker] tells it. The zero Fault is none. It is safe for concurrent
// use.
type Fault struct {
	mu  sync.Mutex
	err error
}

// Set replaces the fault; nil means that the device works. It reports whether this reads otherwise than before, which is
// when it is worth a line in the log.
func (f *Fault) Set(err error) (changed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.err
	f.err = err
	if before == nil || err == nil {
		return before != err
	}
	return before.Error() != err.Error()
}

// Get returns the fault, nil if there is none.
func (f *Fault) Get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}
