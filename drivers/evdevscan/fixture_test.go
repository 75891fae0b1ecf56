package evdevscan

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/drivers/framing"
	"github.com/kipass/kipass/drivers/internal/device"
	"github.com/kipass/kipass/internal/testkit"
)

const patience = 5 * time.Minute

// fakeScanner is a scanner without hardware: a FIFO into which it puts events as the kernel lays them out, under a symbolic
// link that leads to another one after each replug, and a kernel that answers for it.
type fakeScanner struct {
	dir    string
	layout layout

	typing sync.Mutex
	clock  time.Duration // of the events

	mu     sync.Mutex
	number int
	pipe   *os.File // nil while unplugged
	held   keySet
	can    keySet
	grabs  error // what grabbing gives
	clocks error // what choosing a clock gives
	asked  int   // how often the held keys were asked for
}

func newFakeScanner(t *testing.T, l layout) *fakeScanner {
	t.Helper()
	g := &fakeScanner{dir: t.TempDir(), layout: l, clock: time.Hour, can: fullKeyboard()}
	testkit.Check(t, g.replug())
	t.Cleanup(func() { _ = g.unplug() })
	return g
}

func fullKeyboard() (s keySet) {
	for code := range uint16(128) {
		s.add(code)
	}
	return s
}

func (g *fakeScanner) path() string { return filepath.Join(g.dir, "usb-scanner-event-kbd") }

func (g *fakeScanner) replug() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pipe != nil {
		return nil
	}
	g.number++
	node := filepath.Join(g.dir, fmt.Sprintf("event%d", g.number))
	if err := unix.Mkfifo(node, 0o600); err != nil {
		return err
	}
	pipe, err := os.OpenFile(node, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	next := filepath.Join(g.dir, ".next")
	if err := errors.Join(os.Symlink(node, next), os.Rename(next, g.path())); err != nil {
		return errors.Join(err, pipe.Close())
	}
	g.pipe = pipe
	return nil
}

func (g *fakeScanner) unplug() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pipe == nil {
		return nil
	}
	node := g.pipe.Name()
	err := errors.Join(os.Remove(g.path()), g.pipe.Close(), os.Remove(node))
	g.pipe = nil
	return err
}

func (g *fakeScanner) plugged() *os.File {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pipe
}

// put hands events to the driver, a quarter of a millisecond apart. While unplugged they go nowhere.
func (g *fakeScanner) put(list ...event) error {
	g.typing.Lock()
	defer g.typing.Unlock()
	buf := make([]byte, 0, len(list)*int(g.layout))
	for _, e := range list {
		g.clock += time.Millisecond / 4
		e.at = g.clock
		buf = g.layout.encode(buf, e)
	}
	if pipe := g.plugged(); pipe != nil {
		if _, err := pipe.Write(buf); err != nil && g.plugged() == pipe {
			return err
		}
	}
	return nil
}

// sleep lets the events' clock go on.
func (g *fakeScanner) sleep(d time.Duration) {
	g.typing.Lock()
	defer g.typing.Unlock()
	g.clock += d
}

// taken waits until the driver has read everything.
func (g *fakeScanner) taken() {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(200 * time.Microsecond) {
		pipe := g.plugged()
		if pipe == nil {
			return
		}
		if n, err := device.Unread(pipe); n == 0 || err != nil {
			return
		}
	}
}

func (g *fakeScanner) grab(int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.grabs
}

func (g *fakeScanner) setClock(int) error { return g.clocks }

func (g *fakeScanner) keys(_ int, request uintptr) (*keySet, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.can
	if request == eviocgkey {
		g.asked++
		s = g.held
	}
	return &s, nil
}

// fakeKernel is the kernel of a scanner.
type fakeKernel struct{ *fakeScanner }

func (k fakeKernel) clock(fd int) error { return k.setClock(fd) }

// typed returns the events of a scanner that types text: shift, key, report, and the same up again. A line feed is the
// keypad's Enter. What has no key is typed as its number on the keypad under Alt.
func typed(text []byte) (list []event) {
	report := event{kind: evSyn, code: synReport}
	scan := event{kind: 4, code: 4, value: 0x70004} // EV_MSC, MSC_SCAN: USB keyboards tell the usage beside each key
	for _, c := range text {
		if _, known := strokeOf[c]; !known {
			list = append(list, numbered(c)...)
			continue
		}
		code, shifted := keyOf(c)
		if shifted {
			list = append(list, event{kind: evKey, code: keyLeftShift, value: pressed})
		}
		list = append(list, scan, event{kind: evKey, code: code, value: pressed}, report, scan, event{kind: evKey, code: code, value: released})
		if shifted {
			list = append(list, event{kind: evKey, code: keyLeftShift, value: released})
		}
		list = append(list, report)
	}
	return list
}

// numbered returns the events of a scanner that types the number of a character.
func numbered(c byte) []event {
	keypad := [10]uint16{82, 79, 80, 81, 75, 76, 77, 71, 72, 73}
	report := event{kind: evSyn, code: synReport}
	list := []event{{kind: evKey, code: keyLeftAlt, value: pressed}, report}
	for _, digit := range fmt.Sprint(c) {
		key := keypad[digit-'0']
		list = append(list, event{kind: evKey, code: key, value: pressed}, report, event{kind: evKey, code: key, value: released}, report)
	}
	return append(list, event{kind: evKey, code: keyLeftAlt, value: released}, report)
}

// stroke is how a scanner types a character.
type stroke struct {
	code    uint16
	shifted bool
}

var strokeOf = func() map[byte]stroke {
	all := map[byte]stroke{'\n': {code: keyKPEnter}}
	for code, keys := range us[:keyKPAsterisk] {
		for i, c := range keys {
			if _, known := all[c]; !known && c != alien {
				all[c] = stroke{uint16(code), i == 1}
			}
		}
	}
	all[' '] = stroke{code: keySpace}
	delete(all, 0)
	return all
}()

func keyOf(c byte) (code uint16, shifted bool) {
	s, known := strokeOf[c]
	if !known {
		panic(fmt.Sprintf("byte %#x has no key", c))
	}
	return s.code, s.shifted
}

func newReader(t *testing.T, g *fakeScanner, opts Options) *Reader {
	t.Helper()
	opts.Name = "front"
	opts.Device = cmp.Or(opts.Device, g.path())
	r := testkit.Must(New(opts))(t)
	r.kernel, r.layout = fakeKernel{g}, g.layout
	return r
}

func TestReaderSuite(t *testing.T) {
	// Each reader's clock stands still until a silence is to pass.
	newFixture := func(opts Options, l layout, noClock error, ends ...string) func(*testing.T) drivertest.Fixture {
		return func(t *testing.T) drivertest.Fixture {
			g := newFakeScanner(t, l)
			g.clocks = noClock
			opts.Framing.Code = drivertest.Codes
			r, clock := newReader(t, g, opts), testkit.NewClock(time.Now())
			r.now = clock.Now
			do := func(err error) { testkit.Check(t, err) }
			return drivertest.Fixture{
				Reader: r,
				Name:   "front",
				Type: func(b []byte) {
					// A megabyte is typed in pieces, as nothing else would hold so many events.
					for len(b) > 0 {
						n := min(len(b), 1<<12)
						do(g.put(typed(b[:n])...))
						b = b[n:]
					}
				},
				Ends: ends,
				Hush: func() {
					g.taken()
					g.sleep(framing.DefaultGap)
					clock.Add(framing.DefaultGap)
				},
				Unplug: func() { do(g.unplug()) },
				Replug: func() { do(g.replug()) },
				Settle: g.taken,
				Flood:  l == layout64 && noClock == nil, // once for each rule of ending; it takes its time
				AIM:    true,
				Bytes:  true,
			}
		}
	}
	t.Run("64-bit events", func(t *testing.T) {
		t.Parallel()
		drivertest.ReaderSuite(t, newFixture(Options{}, layout64, nil, "\r", "\n", "\t", ""))
	})
	t.Run("decorations", func(t *testing.T) {
		t.Parallel()
		drivertest.DecorationSuite(t, newFixture(Options{}, layout64, nil, "\r"))
		drivertest.DecorationSuite(t, newFixture(Options{Framing: framing.Rule{Terminator: "tab"}}, layout32, unix.EINVAL, "\t"))
	})
	t.Run("flaws", func(t *testing.T) {
		t.Parallel()
		drivertest.FlawSuite(t, newFixture(Options{}, layout64, nil, "\r", ""))
	})
	t.Run("32-bit events", func(t *testing.T) {
		t.Parallel()
		drivertest.ReaderSuite(t, newFixture(Options{}, layout32, nil, "\n", ""))
	})
	t.Run("silence alone, without a clock", func(t *testing.T) {
		t.Parallel()
		drivertest.ReaderSuite(t, newFixture(Options{}, layout64, unix.EINVAL, "\r", ""))
	})
	t.Run("named end", func(t *testing.T) {
		t.Parallel()
		drivertest.ReaderSuite(t, func(t *testing.T) drivertest.Fixture {
			f := newFixture(Options{Framing: framing.Rule{Terminator: "tab"}}, layout64, nil, "\t")(t)
			f.Replugs = 20
			return f
		})
	})
}
