package gpio

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/gpio/gpiotest"
	periph "periph.io/x/conn/v3/pin"

	"github.com/kipass/kipass/drivers"
)

// wire is a gpiotest pin that keeps when it was driven to what, can fail or hang, and does not forgive being read.
type wire struct {
	gpiotest.Pin
	t      *testing.T
	rig    *rig
	closed bool
}

// edge is one change of a line's level, or its first.
type edge struct {
	at    time.Duration // since taken was last called
	name  string
	level gpio.Level
}

func (e edge) String() string { return fmt.Sprintf("%v %s %v", e.at, e.name, e.level) }

func (w *wire) Out(l gpio.Level) error {
	w.rig.mu.Lock()
	hang, fail, slow := w.rig.hang, w.rig.fail[w.N], w.rig.slow
	w.rig.mu.Unlock()
	time.Sleep(slow)
	if hang != nil {
		<-hang
	}
	if fail != nil {
		return fail
	}
	w.rig.mu.Lock()
	defer w.rig.mu.Unlock()
	if w.closed {
		w.t.Errorf("line %s was driven after it was closed", w.N)
	}
	if before, driven := w.rig.levels[w.N]; !driven || before != l {
		w.rig.edges = append(w.rig.edges, edge{time.Since(w.rig.began), w.N, l})
	}
	w.rig.levels[w.N] = l
	return w.Pin.Out(l)
}

func (w *wire) Read() gpio.Level {
	w.t.Errorf("output %s was read: on a real line that makes an input of it", w.N)
	return w.Pin.Read()
}

func (w *wire) Func() periph.Func {
	w.t.Errorf("output %s was asked for its function: on a real line that makes an input of it", w.N)
	return w.Pin.Func()
}

func (w *wire) Close() {
	w.rig.mu.Lock()
	defer w.rig.mu.Unlock()
	w.closed = true
	w.rig.open[w.N] = false
}

// rig is a machine with GPIO lines of any name.
type rig struct {
	t     *testing.T
	began time.Time

	mu     sync.Mutex
	absent error            // what opening says, nil while there are lines
	fail   map[string]error // what driving a line says
	slow   time.Duration    // how long driving a line takes
	hang   chan struct{}    // driving any line waits for it to be closed
	open   map[string]bool
	levels map[string]gpio.Level
	edges  []edge
}

func newRig(t *testing.T) *rig {
	return &rig{t: t, began: time.Now(), fail: map[string]error{}, open: map[string]bool{}, levels: map[string]gpio.Level{}}
}

func (r *rig) opener(name string) (pin, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.absent != nil {
		return nil, r.absent
	}
	if r.open[name] {
		r.t.Errorf("line %s was opened twice", name)
	}
	r.open[name] = true
	return &wire{Pin: gpiotest.Pin{N: name}, t: r.t, rig: r}, nil
}

func (r *rig) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// high names the lines that are high.
func (r *rig) high() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := ""
	for _, name := range []string{"G", "A", "R", "B", "Y"} {
		if r.levels[name] {
			text += name
		}
	}
	return text
}

// taken returns the edges since it was last called, with their time since then.
func (r *rig) taken() []edge {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.edges
	r.edges, r.began = nil, time.Now()
	return taken
}

func (r *rig) closedAll() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, open := range r.open {
		if open {
			r.t.Errorf("line %s was not released", name)
		}
	}
}

func wantEdges(t *testing.T, got []edge, want ...edge) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("edges\n got %v\nwant %v", got, want)
	}
}

func show(t *testing.T, i drivers.Indicator, c drivers.Cue) {
	t.Helper()
	if err := i.Show(context.Background(), c); err != nil {
		t.Errorf("Show(%v): %v", c.Light, err)
	}
}

func halt(t *testing.T, r *rig, i drivers.Indicator) {
	t.Helper()
	if err := i.Halt(); err != nil {
		t.Errorf("Halt: %v", err)
	}
	r.closedAll()
}
