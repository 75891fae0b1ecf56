package gpio

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"periph.io/x/conn/v3/gpio"

	"github.com/kipass/kipass/drivers"
)

// pin is an open line. *gpioioctl.GPIOLine is one.
type pin interface {
	Out(l gpio.Level) error
	Close()
}

// opener finds a line by its name. Nothing is driven before the first Out.
type opener func(name string) (pin, error)

const (
	firstRetry   = 50 * time.Millisecond // between attempts to open; doubled up to lastRetry
	lastRetry    = 2 * time.Second
	refreshEvery = 2 * time.Second // how often levels are set anew, to notice a chip that went away
)

// output is one line and what it is to be. Its level lives here alone.
type output struct {
	what string // "green", "relay"
	line Line
	on   bool // as wanted

	// fleeting is whether a line that was lost is off from then on; otherwise it is what is wanted when it is back.
	fleeting bool

	pin pin   // nil while it is not open
	err error // why it is not open
}

func (o *output) write(on bool) error { return o.pin.Out(gpio.Level(on != o.line.ActiveLow)) }

// bank holds lines of one goroutine. It opens them again and again while they are not there. Only fault may be called
// from elsewhere.
type bank struct {
	open    opener
	outputs []*output
	retry   time.Duration
	due     time.Time // when tend has something to do

	mu     sync.Mutex
	trying time.Time // when the call under way began, zero if none is
	wrong  error
}

func newBank(open opener) *bank { return &bank{open: open, retry: firstRetry} }

// add takes a line in, or returns nil if it is not wired.
func (b *bank) add(what string, l Line) *output {
	if !l.wired() {
		return nil
	}
	o := &output{what: what, line: l, err: fmt.Errorf("%s line %s: not opened yet: %w", what, l.Name, drivers.ErrUnavailable)}
	b.outputs = append(b.outputs, o)
	return o
}

// set brings a line to what is wanted of it from now on. A nil output is not wired: nothing is done.
func (b *bank) set(o *output, on bool) error {
	if o == nil {
		return nil
	}
	if o.pin == nil {
		o.on = on && !o.fleeting
		return o.err
	}
	o.on = on
	b.begin()
	err := o.write(on)
	if err != nil {
		b.lose(o, err)
	}
	b.end()
	return o.err
}

// tend opens the lines that are not open and sets those that are anew, each in its time.
func (b *bank) tend(now time.Time) {
	if now.Before(b.due) {
		return
	}
	b.begin()
	missing := false
	for _, o := range b.outputs {
		switch {
		case o.pin == nil:
			b.reopen(o)
		default:
			if err := o.write(o.on); err != nil {
				b.lose(o, err)
			}
		}
		missing = missing || o.pin == nil
	}
	b.end()
	if missing {
		b.due, b.retry = now.Add(b.retry), min(2*b.retry, lastRetry)
	} else {
		b.due, b.retry = now.Add(refreshEvery), firstRetry
	}
}

// reopen opens a line in its safe state first and then brings it to what is wanted.
func (b *bank) reopen(o *output) {
	p, err := b.open(o.line.Name)
	if err != nil {
		o.err = fmt.Errorf("%s line %s: %w", o.what, o.line.Name, err)
		return
	}
	o.pin = p
	err = o.write(false)
	if err == nil && o.on {
		err = o.write(true)
	}
	if err != nil {
		b.lose(o, err)
		return
	}
	o.err = nil
}

// lose gives up a line that does not do as it is told. It is closed, since a new request begins with its safe state.
func (b *bank) lose(o *output, err error) {
	o.pin.Close()
	if o.fleeting {
		o.on = false
	}
	why := drivers.ErrLost
	if o.err != nil { // it did not work before either
		why = drivers.ErrUnavailable
	}
	o.pin, o.err = nil, fmt.Errorf("%s line %s: %w: %w", o.what, o.line.Name, plain(err), why)
	b.due = time.Time{}
}

// rest brings every line to its safe state.
func (b *bank) rest() error {
	var errs []error
	for _, o := range b.outputs {
		open := o.pin != nil
		if err := b.set(o, false); err != nil && open {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (b *bank) close() {
	for _, o := range b.outputs {
		if o.pin != nil {
			o.pin.Close()
			o.pin, o.err = nil, fmt.Errorf("%s line %s: %w", o.what, o.line.Name, errHalted)
		}
	}
}

func (b *bank) begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trying = time.Now()
}

// end publishes what has become of the lines.
func (b *bank) end() {
	var first error
	more := 0
	for _, o := range b.outputs {
		switch {
		case o.err == nil:
		case first == nil:
			first = o.err
		default:
			more++
		}
	}
	if more > 0 {
		first = fmt.Errorf("%w (and %d more)", first, more)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trying, b.wrong = time.Time{}, first
}

func (b *bank) fault() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.trying.IsZero() && time.Since(b.trying) > stuckAfter {
		return fmt.Errorf("the GPIO lines do not answer since %v: %w", time.Since(b.trying).Round(time.Second), drivers.ErrUnavailable)
	}
	return b.wrong
}
