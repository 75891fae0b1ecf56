package device

import (
	"context"
	"fmt"
	"sync"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/framing"
)

// Input is the state of a reader's device: not open, and why; open and well; or open and delivering nothing but damage.
// A family embeds it and gets drivers.Checker from it. Its methods are safe for concurrent use.
type Input struct {
	name  string
	limit int
	fault Fault // why the device is not open; nil while it is

	mu      sync.Mutex
	damaged int    // frames that came damaged since the last good one
	remedy  string // what to do about the last of them
}

// NewInput returns the state of a device that was not opened yet, of the reader with that name in the config. So many
// damaged frames in a row as limit says are a fault.
func NewInput(name string, limit int) *Input {
	in := &Input{name: name, limit: limit}
	in.fault.Set(ErrNotOpened)
	return in
}

// Run lets serve open the device, call [Input.Opened], and deliver frames until ctx ends or the device is lost; serve
// closes the device before it returns. Run returns what [drivers.Reader] wants: ctx's error if that has ended, and
// otherwise what serve says.
func (in *Input) Run(ctx context.Context, serve func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := serve()
	state := err
	if ctx.Err() != nil {
		err, state = ctx.Err(), ErrHalted
	}
	in.Good()
	in.fault.Set(state)
	return err
}

// Opened says that the device is open.
func (in *Input) Opened() { in.fault.Set(nil) }

// Damaged says that a frame came that no reader set up rightly sends, and what to do about it.
func (in *Input) Damaged(remedy string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.damaged, in.remedy = in.damaged+1, remedy
}

// Good says that a frame came undamaged.
func (in *Input) Good() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.damaged = 0
}

// Check implements drivers.Checker. The error wraps drivers.ErrUnavailable or drivers.ErrLost while the device is not
// open, and drivers.ErrGarbled with the remedy when only damage arrives.
func (in *Input) Check() error {
	if err := in.fault.Get(); err != nil {
		return err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.damaged >= in.limit {
		return fmt.Errorf("%w: %s", drivers.ErrGarbled, in.remedy)
	}
	return nil
}

// Frames returns the function that takes the frames of one Run: note looks at each, and emit gets those with data until
// ctx ends. It may be called by several goroutines; note and emit are called one at a time.
func (in *Input) Frames(ctx context.Context, emit func(drivers.Read), note func(framing.Frame)) func(framing.Frame) {
	var one sync.Mutex
	return func(f framing.Frame) {
		one.Lock()
		defer one.Unlock()
		note(f)
		if f.Data != nil && ctx.Err() == nil {
			emit(drivers.Read{Data: f.Data, At: f.At, Reader: in.name})
		}
	}
}
