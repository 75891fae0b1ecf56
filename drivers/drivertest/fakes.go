package drivertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kipass/kipass/drivers"
)

// Reader is a fake drivers.Reader that plays a script. Its zero value delivers nothing until its context ends.
type Reader struct {
	Name   string
	Script []Step
	Now    func() time.Time // for Read.At; nil is time.Now

	mu     sync.Mutex
	next   int
	active *bool
	check  error
}

// Step is one event of a script, in this order: Wait passes, Data is delivered, Err is returned from Run.
type Step struct {
	Wait time.Duration
	Data []byte
	Err  error // Run returns it; the next Run goes on behind this step
}

// Run implements drivers.Reader. At the end of the script it waits for ctx.
func (r *Reader) Run(ctx context.Context, emit func(drivers.Read)) error {
	now := r.Now
	if now == nil {
		now = time.Now
	}
	for {
		step, ok := r.step()
		if !ok {
			<-ctx.Done()
			return ctx.Err()
		}
		if step.Wait > 0 {
			t := time.NewTimer(step.Wait)
			select {
			case <-ctx.Done():
				t.Stop()
				return ctx.Err()
			case <-t.C:
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if step.Data != nil {
			emit(drivers.Read{Data: append([]byte(nil), step.Data...), At: now(), Reader: r.Name})
		}
		if step.Err != nil {
			return step.Err
		}
	}
}

func (r *Reader) step() (Step, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == len(r.Script) {
		return Step{}, false
	}
	r.next++
	return r.Script[r.next-1], true
}

// Left returns how many steps of the script were not played: a test that ends with some has not tested what it says.
func (r *Reader) Left() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.Script) - r.next
}

// SetActive implements drivers.Switchable.
func (r *Reader) SetActive(_ context.Context, on bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.active = &on
	return nil
}

// Active returns what SetActive was last told, true if it was never called.
func (r *Reader) Active() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.active == nil || *r.active
}

// SetCheck sets what Check returns.
func (r *Reader) SetCheck(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.check = err
}

// Check implements drivers.Checker.
func (r *Reader) Check() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.check
}

// String names the fake.
func (r *Reader) String() string { return fmt.Sprintf("fake reader (%s)", r.Name) }

// Indicator is a fake drivers.Indicator that keeps the cues it was shown. The zero value works.
type Indicator struct {
	Name string

	mu     sync.Mutex
	cues   []drivers.Cue
	at     []time.Time // when each was shown
	fail   error
	hang   bool
	halted bool
	idle   drivers.Light
	shown  chan struct{} // closed and replaced with every cue
}

// Fail makes Show and Check return err from now on; nil heals the device.
func (i *Indicator) Fail(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fail = err
}

// Hang makes Show block until its context ends, as a device that breaks its contract does; false heals the device.
func (i *Indicator) Hang(on bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.hang = on
}

// Show implements drivers.Indicator. A cue that hangs or fails is not kept.
func (i *Indicator) Show(ctx context.Context, c drivers.Cue) error {
	i.mu.Lock()
	if i.halted {
		i.mu.Unlock()
		return errors.New("shown a cue after it was halted")
	}
	if i.hang {
		i.mu.Unlock()
		<-ctx.Done()
		return ctx.Err()
	}
	defer i.mu.Unlock()
	if i.fail != nil {
		return i.fail
	}
	i.cues, i.at = append(i.cues, c), append(i.at, time.Now())
	if i.shown != nil {
		close(i.shown)
		i.shown = nil
	}
	return nil
}

// SetIdle implements drivers.Idler.
func (i *Indicator) SetIdle(l drivers.Light) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.idle = l
}

// Idle returns what SetIdle was last told, drivers.Dark if it was never called.
func (i *Indicator) Idle() drivers.Light {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.idle
}

// Cues returns the cues shown so far.
func (i *Indicator) Cues() []drivers.Cue {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]drivers.Cue(nil), i.cues...)
}

// ShownAt returns when the cue of that position in Cues was shown.
func (i *Indicator) ShownAt(n int) time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.at[n]
}

// Await waits until n cues were shown and returns them, or an error when ctx ends.
func (i *Indicator) Await(ctx context.Context, n int) ([]drivers.Cue, error) {
	for {
		i.mu.Lock()
		cues := append([]drivers.Cue(nil), i.cues...)
		if len(cues) >= n {
			i.mu.Unlock()
			return cues, nil
		}
		if i.shown == nil {
			i.shown = make(chan struct{})
		}
		more := i.shown
		i.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for cue %d, %d came: %w", n, len(cues), ctx.Err())
		case <-more:
		}
	}
}

// Check implements drivers.Checker.
func (i *Indicator) Check() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fail
}

// Halt implements drivers.Indicator.
func (i *Indicator) Halt() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.halted {
		return errors.New("halted twice")
	}
	i.halted = true
	return nil
}

// Halted tells whether Halt was called.
func (i *Indicator) Halted() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.halted
}

// String names the fake.
func (i *Indicator) String() string { return fmt.Sprintf("fake indicator (%s)", i.Name) }

var (
	_ drivers.Reader     = (*Reader)(nil)
	_ drivers.Checker    = (*Reader)(nil)
	_ drivers.Switchable = (*Reader)(nil)
	_ drivers.Indicator  = (*Indicator)(nil)
	_ drivers.Checker    = (*Indicator)(nil)
)
