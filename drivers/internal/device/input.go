package device

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/framing"
)

// Input is the state of a reader's device: not open, and why; open and well; or open and delivering nothing but damage.
// A family embeds it and gets drivers.Checker from it. Its methods are safe for concurrent use.
type Input struct {
	name  string
	fault Fault // why the device is not open; nil while it is

	mu      sync.Mutex
	damaged int    // different frames that came damaged since the last good one
	limit   int    // so many of them are a fault
	remedy  string // what to do about the last of them
	digest  uint64 // of it
}

// So many different frames in a row, with none between that is as it should be, are a fault of the reader's settings and
// not of what was held before it.
const (
	MaxFlawed  = 3 // look like codes that a setting has changed
	MaxGarbled = 5 // are noise
)

// NewInput returns the state of a device that was not opened yet, of the reader with that name in the config.
func NewInput(name string) *Input {
	in := &Input{name: name}
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
	in.good()
	in.fault.Set(state)
	return err
}

// Opened says that the device is open.
func (in *Input) Opened() { in.fault.Set(nil) }

// note tells what a frame says about the reader's settings; noise is what to do about one that is garbled.
func (in *Input) note(f framing.Frame, noise string) {
	switch {
	case f.Flaw != "":
		in.damage(f, f.Flaw, MaxFlawed)
	case f.Garbled:
		in.damage(f, noise, MaxGarbled)
	case f.Whole:
		in.good()
	}
}

// damage counts a frame. The same one again is held before the reader still.
func (in *Input) damage(f framing.Frame, remedy string, limit int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	digest := maphash.Bytes(seed, f.Data)
	if in.damaged > 0 && len(f.Data) > 0 && digest == in.digest {
		return
	}
	in.damaged, in.remedy, in.limit, in.digest = in.damaged+1, remedy, limit, digest
}

var seed = maphash.MakeSeed()

// good says that a frame came as it should be.
func (in *Input) good() {
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
	if in.damaged > 0 && in.damaged >= in.limit {
		return fmt.Errorf("%w: %s", drivers.ErrGarbled, in.remedy)
	}
	return nil
}

// Frames returns the function that takes the frames of one Run: what each says about the reader's settings is noted, noise
// being what to do about one that is garbled, and emit gets those with data until ctx ends. It may be called by several
// goroutines; emit is called by one at a time.
func (in *Input) Frames(ctx context.Context, emit func(drivers.Read), noise string) func(framing.Frame) {
	var one sync.Mutex
	return func(f framing.Frame) {
		one.Lock()
		defer one.Unlock()
		in.note(f, noise)
		if f.Data != nil && ctx.Err() == nil {
			emit(drivers.Read{Data: f.Data, At: f.At, Reader: in.name})
		}
	}
}
