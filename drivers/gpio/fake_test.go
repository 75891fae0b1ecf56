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

// fakePin is a gpiotest pin that keeps when it was driven to what, can fail or hang, and does not forgive being read.
type fakePin struct {
	gpiotest.Pin
	t       *testing.T
	fixture *fixture
	closed  bool
}

// edge is one change of a line's level, or its first.
type edge struct {
	at    time.Duration // since taken was last called
	name  string
	level gpio.Level
}

func (e edge) String() string { return fmt.Sprintf("%v %s %v", e.at, e.name, e.level) }

func (p *fakePin) Out(l gpio.Level) error {
	p.fixture.mu.Lock()
	hang, fail, slow := p.fixture.hang, p.fixture.fail[p.N], p.fixture.slow
	p.fixture.mu.Unlock()
	time.Sleep(slow)
	if hang != nil {
		<-hang
	}
	if fail != nil {
		return fail
	}
	p.fixture.mu.Lock()
	defer p.fixture.mu.Unlock()
	if p.closed {
		p.t.Errorf("line %s was driven after it was closed", p.N)
	}
	if before, driven := p.fixture.levels[p.N]; !driven || before != l {
		p.fixture.edges = append(p.fixture.edges, edge{time.Since(p.fixture.began), p.N, l})
	}
	p.fixture.levels[p.N] = l
	return p.Pin.Out(l)
}

func (p *fakePin) Read() gpio.Level {
	p.t.Errorf("output %s was read: on a real line that makes an input of it", p.N)
	return p.Pin.Read()
}

func (p *fakePin) Func() periph.Func {
	p.t.Errorf("output %s was asked for its function: on a real line that makes an input of it", p.N)
	return p.Pin.Func()
}

func (p *fakePin) Close() {
	p.fixture.mu.Lock()
	defer p.fixture.mu.Unlock()
	p.closed = true
	p.fixture.open[p.N] = false
}

// fixture is a machine with GPIO lines of any name.
type fixture struct {
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

func newFixture(t *testing.T) *fixture {
	return &fixture{t: t, began: time.Now(), fail: map[string]error{}, open: map[string]bool{}, levels: map[string]gpio.Level{}}
}

func (r *fixture) opener(name string) (pin, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.absent != nil {
		return nil, r.absent
	}
	if r.open[name] {
		r.t.Errorf("line %s was opened twice", name)
	}
	r.open[name] = true
	return &fakePin{Pin: gpiotest.Pin{N: name}, t: r.t, fixture: r}, nil
}

func (r *fixture) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// high names the lines that are high.
func (r *fixture) high() string {
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
func (r *fixture) taken() []edge {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.edges
	r.edges, r.began = nil, time.Now()
	return taken
}

func (r *fixture) closedAll() {
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

func halt(t *testing.T, r *fixture, i drivers.Indicator) {
	t.Helper()
	if err := i.Halt(); err != nil {
		t.Errorf("Halt: %v", err)
	}
	r.closedAll()
}
