package evdevscan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/drivers/framing"
	"github.com/kipass/kipass/drivers/internal/device"
	"github.com/kipass/kipass/internal/testkit"
)

func TestLostEventsOverTheDevice(t *testing.T) {
	g := newFakeScanner(t, native)
	run := drivertest.Run(t, newReader(t, g, Options{Framing: framing.Rule{Terminator: framing.CR}}))
	testkit.Check(t, g.put(typed([]byte("FIRST\rTO"))...))
	run.Want("FIRST")
	g.mu.Lock()
	asked := g.asked
	g.mu.Unlock()
	testkit.Check(t, g.put(lost, key(keyEnter, pressed), report))
	drivertest.Await(t, "the held keys to be asked for", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.asked > asked
	})
	testkit.Check(t, g.put(typed([]byte("RN\rNEXT\r"))...))
	run.Want("TO\x1aRN", "NEXT")
}

func TestUnavailableInWords(t *testing.T) {
	for _, c := range []struct {
		rule   string
		change func(*fakeScanner)
		words  string
	}{
		{"grabbed by another program", func(g *fakeScanner) { g.grabs = unix.EBUSY }, "in use by another program"},
		{"no keyboard", func(g *fakeScanner) { g.can = keySet{}; g.can.add(116) }, "types no letters"},
		{"unplugged", func(g *fakeScanner) { _ = g.unplug() }, "is the reader plugged in"},
		{"unplugged at this very moment", func(g *fakeScanner) { g.grabs = unix.ENODEV }, "is the reader still plugged in"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			g := newFakeScanner(t, native)
			c.change(g)
			r := newReader(t, g, Options{})
			err := r.Run(context.Background(), func(drivers.Read) { t.Error("a frame came") })
			if !errors.Is(err, drivers.ErrUnavailable) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("Run returned %v, want %q", err, c.words)
			}
			if check := r.Check(); !errors.Is(check, drivers.ErrUnavailable) || !strings.Contains(check.Error(), c.words) {
				t.Errorf("Check says %v", check)
			}
		})
	}
	t.Run("not an input device, by the real kernel", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		testkit.Check(t, os.WriteFile(file, nil, 0o600))
		for _, path := range []string{file, "/dev/null", t.TempDir()} {
			r, err := New(Options{Name: "front", Device: path})
			testkit.Check(t, err)
			err = r.Run(context.Background(), func(drivers.Read) { t.Error("a frame came") })
			if errors.Is(err, unix.ENOSYS) {
				t.Skip("emulators of single programs hand no requests of input devices to the kernel")
			}
			if !errors.Is(err, drivers.ErrUnavailable) || !strings.Contains(err.Error(), "not an input device") {
				t.Errorf("%s: %v", path, err)
			}
		}
	})
	t.Run("no permission", func(t *testing.T) {
		if err := explain("/dev/input/event3", fs.ErrPermission); !strings.Contains(err.Error(), "group input") {
			t.Errorf("got %v", err)
		}
	})
}

func TestLossInWords(t *testing.T) {
	g := newFakeScanner(t, native)
	r := newReader(t, g, Options{})
	run := drivertest.Run(t, r)
	testkit.Check(t, g.put(typed([]byte("A\r"))...))
	run.Next()
	if err := r.Check(); err != nil {
		t.Errorf("Check says %v of a device that works", err)
	}
	testkit.Check(t, g.unplug())
	if err := run.Err(); !errors.Is(err, drivers.ErrLost) {
		t.Errorf("Run returned %v", err)
	}
	if err := r.Check(); !errors.Is(err, drivers.ErrLost) {
		t.Errorf("Check says %v", err)
	}
}

func TestCheckKnowsAReaderOfAnotherCountry(t *testing.T) {
	g := newFakeScanner(t, native)
	r := newReader(t, g, Options{Framing: framing.Rule{Code: anyCode}})
	run := drivertest.Run(t, r)
	show := func(code string) error {
		testkit.Check(t, g.put(typed([]byte(code+"\r"))...))
		run.Want(code)              // damaged codes are delivered as they are
		g.sleep(framing.DefaultGap) // each is a presentation of its own
		return r.Check()
	}
	for i := range device.MaxFlawed - 1 {
		if err := show(fmt.Sprintf("KIP1>6BF%d", i)); err != nil {
			t.Fatalf("Check says %v already", err)
		}
	}
	if err := show("8801062518210"); err != nil {
		t.Fatalf("Check says %v of a bar code", err)
	}
	err := show("KIP1>6BF")
	if !errors.Is(err, drivers.ErrGarbled) || !strings.Contains(err.Error(), "codes arrive damaged") || !strings.Contains(err.Error(), "set the reader's keyboard country to US") {
		t.Fatalf("Check says %v", err)
	}
	if err := show("8801062518211"); err == nil || !strings.Contains(err.Error(), "country to US") {
		t.Fatalf("Check says %v after a bar code", err)
	}
	if err := show("KIP1:6BF"); err != nil {
		t.Fatalf("Check says %v after a whole code", err)
	}
	for i := range device.MaxFlawed {
		testkit.Check(t, g.put(key(key102nd, pressed), key(key102nd, released)))
		testkit.Check(t, g.put(typed(fmt.Append(nil, i, "\r"))...))
		run.Want(fmt.Sprint("\x1a", i))
		g.sleep(framing.DefaultGap)
	}
	if err := r.Check(); !errors.Is(err, drivers.ErrGarbled) || !strings.Contains(err.Error(), "a US keyboard does not have") {
		t.Fatalf("Check says %v of keys of another country", err)
	}
}

func TestCheckKnowsADeviceSwitchedOff(t *testing.T) {
	g := newFakeScanner(t, native)
	r := newReader(t, g, Options{})
	r.roots = roots{sys: t.TempDir(), dev: g.dir}
	run := drivertest.Run(t, r)
	testkit.Check(t, g.put(typed([]byte("A\r"))...))
	run.Next()
	off := filepath.Join(r.roots.sys, "event1", "device", "inhibited")
	testkit.Check(t, os.MkdirAll(filepath.Dir(off), 0o700))
	testkit.Check(t, os.WriteFile(off, []byte("1\n"), 0o600))
	if err := r.Check(); err == nil || !strings.Contains(err.Error(), "switched off") {
		t.Errorf("Check says %v", err)
	}
	testkit.Check(t, os.WriteFile(off, []byte("0\n"), 0o600))
	if err := r.Check(); err != nil {
		t.Errorf("Check says %v", err)
	}
}

func TestFoundByNameUnderItsNewNumber(t *testing.T) {
	g, b := newFakeScanner(t, native), newBus(t)
	b.root.dev = g.dir
	b.add("event1", "Built-in Scanner", "0000", "0000", keys("keyboard"))
	r := newReader(t, g, Options{Device: "Built-in Scanner"})
	r.roots = b.root
	run := drivertest.Run(t, r)
	testkit.Check(t, g.put(typed([]byte("A\r"))...))
	run.Next()
	testkit.Check(t, g.unplug())
	testkit.Check(t, os.RemoveAll(filepath.Join(b.root.sys, "event1")))
	if err := run.Err(); !errors.Is(err, drivers.ErrLost) {
		t.Fatalf("Run returned %v", err)
	}
	if err := r.Run(context.Background(), nil); !errors.Is(err, drivers.ErrUnavailable) {
		t.Fatalf("Run returned %v of a device that is away", err)
	}
	testkit.Check(t, g.replug())
	b.add("event2", "Built-in Scanner", "0000", "0000", keys("keyboard"))
	run = drivertest.Run(t, r)
	testkit.Check(t, g.put(typed([]byte("B\r"))...))
	run.Want("B")
}

func TestOptionsAreChecked(t *testing.T) {
	for words, opts := range map[string]Options{
		"needs a name":     {Device: "/dev/input/by-id/x"},
		"needs its path":   {Name: "front"},
		"cannot be typed":  {Name: "front", Device: "x", Framing: framing.Rule{Terminator: "crlf"}},
		"is out of range":  {Name: "front", Device: "x", Framing: framing.Rule{Gap: time.Minute}},
		"use one of [auto": {Name: "front", Device: "x", Framing: framing.Rule{Terminator: "enter"}},
	} {
		if _, err := New(opts); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%+v: %v, want %q", opts, err, words)
		}
	}
	r, err := New(Options{Name: "front", Device: "0C2E:0b61"})
	testkit.Check(t, err)
	if r.place.String() != "0c2e:0b61" || !strings.Contains(r.String(), "front") {
		t.Errorf("%s, %s", r.place, r)
	}
}

func TestWhatCameInTimeIsReadThoughTheWaitIsOver(t *testing.T) {
	g := newFakeScanner(t, native)
	d := testkit.Must(openScanner(g.path(), fakeKernel{g}))(t)
	defer d.close()
	testkit.Check(t, d.wait(time.Now().Add(-time.Second)))
	buf := make([]byte, 128*native)
	if n, err := d.read(buf); n != 0 || err != nil {
		t.Fatalf("of a silent device %d bytes were read, with %v", n, err)
	}
	list := typed([]byte("A"))
	testkit.Check(t, g.put(list...))
	if n, err := d.read(buf); n != len(list)*int(native) || err != nil {
		t.Errorf("%d bytes were read, with %v; want the %d of %d events", n, err, len(list)*int(native), len(list))
	}
}
