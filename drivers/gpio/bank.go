package gpio

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"periph.io/x/conn/v3/gpio"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/internal/device"
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

func (out *output) write(on bool) error { return out.pin.Out(gpio.Level(on != out.line.ActiveLow)) }

// bank holds lines of one goroutine. It opens them again and again while they are not there. Only fault may be called
// from elsewhere.
type bank struct {
	open    opener
	outputs []*output
	retry   device.Backoff
	due     time.Time // when tend has something to do

	mu     sync.Mutex
	trying time.Time // when the call under way began, zero if none is
	wrong  error
}

func newBank(open opener) *bank {
	return &bank{open: open, retry: device.Backoff{First: firstRetry, Last: lastRetry}}
}

// add takes a line in, or returns nil if it is not wired.
func (b *bank) add(what string, l Line) *output {
	if !l.wired() {
		return nil
	}
	out := &output{what: what, line: l, err: fmt.Errorf("%s line %s: %w", what, l.Name, device.ErrNotOpened)}
	b.outputs = append(b.outputs, out)
	return out
}

// set brings a line to what is wanted of it from now on. A nil output is not wired: nothing is done.
func (b *bank) set(out *output, on bool) error {
	if out == nil {
		return nil
	}
	if out.pin == nil {
		out.on = on && !out.fleeting
		return out.err
	}
	out.on = on
	b.begin()
	err := out.write(on)
	if err != nil {
		b.lose(out, err)
	}
	b.end()
	return out.err
}

// tend opens the lines that are not open and sets those that are anew, each in its time.
func (b *bank) tend(now time.Time) {
	if now.Before(b.due) {
		return
	}
	b.begin()
	missing := false
	for _, out := range b.outputs {
		switch {
		case out.pin == nil:
			b.reopen(out)
		default:
			if err := out.write(out.on); err != nil {
				b.lose(out, err)
			}
		}
		missing = missing || out.pin == nil
	}
	b.end()
	if missing {
		b.due = now.Add(b.retry.Next())
	} else {
		b.due = now.Add(refreshEvery)
		b.retry.Reset()
	}
}

// reopen opens a line in its safe state first and then brings it to what is wanted.
func (b *bank) reopen(out *output) {
	p, err := b.open(out.line.Name)
	if err != nil {
		out.err = fmt.Errorf("%s line %s: %w", out.what, out.line.Name, err)
		return
	}
	out.pin = p
	err = out.write(false)
	if err == nil && out.on {
		err = out.write(true)
	}
	if err != nil {
		b.lose(out, err)
		return
	}
	out.err = nil
}

// lose gives up a line that does not do as it is told. It is closed, since a new request begins with its safe state.
func (b *bank) lose(out *output, err error) {
	out.pin.Close()
	if out.fleeting {
		out.on = false
	}
	why := drivers.ErrLost
	if out.err != nil { // it did not work before either
		why = drivers.ErrUnavailable
	}
	out.pin, out.err = nil, fmt.Errorf("%s line %s: %w: %w", out.what, out.line.Name, plain(err), why)
	b.due = time.Time{}
}

// rest brings every line to its safe state.
func (b *bank) rest() error {
	var errs []error
	for _, out := range b.outputs {
		open := out.pin != nil
		if err := b.set(out, false); err != nil && open {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (b *bank) close() {
	for _, out := range b.outputs {
		if out.pin != nil {
			out.pin.Close()
			out.pin, out.err = nil, fmt.Errorf("%s line %s: %w", out.what, out.line.Name, device.ErrHalted)
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
	for _, out := range b.outputs {
		switch {
		case out.err == nil:
		case first == nil:
			first = out.err
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
		return fmt.Errorf("the GPIO lines have not answered for %v: %w", time.Since(b.trying).Round(time.Second), drivers.ErrUnavailable)
	}
	return b.wrong
}
