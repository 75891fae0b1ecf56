package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/drivers/evdevscan"
	"github.com/kipass/kipass/drivers/framing"
	"github.com/kipass/kipass/internal/testkit"
)

const (
	usbID       = "1d6b:0104"
	builtInName = "Kipass built-in scanner"
)

// eviocgrab is the request by which a program takes an input device for itself (linux/input.h).
const eviocgrab = 0x40044590

func keyboardDriver(t *testing.T, device string) *evdevscan.Reader {
	t.Helper()
	return keyboardDriverBy(t, device, framing.Rule{})
}

func keyboardDriverBy(t *testing.T, device string, rule framing.Rule) *evdevscan.Reader {
	t.Helper()
	return testkit.Must(evdevscan.New(evdevscan.Options{Name: "front", Device: device, Framing: rule}))(t)
}

func closeLater(t *testing.T, k Keyboard) {
	t.Cleanup(func() { testkit.Check(t, k.Close()) })
}

func keyboardBench(t *testing.T, k Keyboard, device, name string, replugs int) drivertest.Fixture {
	closeLater(t, k)
	r := keyboardDriverBy(t, device, framing.Rule{Code: drivertest.Codes})
	return drivertest.Fixture{
		Reader: r, Name: "front",
		// A code is shown when the reader is ready. One that is half typed when the device is opened loses its
		// beginning to whoever had the keyboard before.
		Type: func(b []byte) {
			if r.Check() == nil {
				testkit.Check(t, k.Type(b))
			}
		},
		Ends: []string{"\r", "\n", "\t", ""},
		Hush: func() { time.Sleep(2 * framing.DefaultGap) },
		Unplug: func() {
			report(t, name+"_unplugs", count(name+"_unplugs"))
			testkit.Check(t, k.Unplug())
		},
		Replug: func() { testkit.Check(t, k.Replug()) },
		AIM:    true, Replugs: replugs,
	}
}

// TestKeyboardUSB holds the driver to the readers' contract on a USB keyboard that is really pulled.
func TestKeyboardUSB(t *testing.T) {
	replugs := number(t, "HIL_REPLUGS", 100)
	parts := 0
	drivertest.ReaderSuite(t, func(t *testing.T) drivertest.Fixture {
		parts++
		k := testkit.Must(NewUSBKeyboard(fmt.Sprintf("keyboard%d", parts)))(t)
		return keyboardBench(t, k, usbID, "usb_keyboard", replugs)
	})
}

// TestKeyboardBuiltIn does the same with a scanner that the kernel knows by a name alone.
func TestKeyboardBuiltIn(t *testing.T) {
	replugs := number(t, "HIL_REPLUGS", 100)
	drivertest.ReaderSuite(t, func(t *testing.T) drivertest.Fixture {
		s := testkit.Must(NewBuiltIn(builtInName))(t)
		return keyboardBench(t, s, builtInName, "built_in", replugs)
	})
}

// session runs a driver until the test's end and hands on what it reads.
func session(t *testing.T, r drivers.Reader) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	reads := make(chan string, 1000)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := r.Run(ctx, func(got drivers.Read) { reads <- string(got.Data) }); !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	testkit.Check(t, await("the driver to open its device", func() (bool, error) { return r.Check() == nil, nil }))
	return reads
}

func next(t *testing.T, reads <-chan string) string {
	t.Helper()
	select {
	case got := <-reads:
		return got
	case <-time.After(patience):
		t.Fatal("no code came")
		return ""
	}
}

// TestKeyboardIsOursAlone checks that what a code types reaches no other program, and that the device is given back.
func TestKeyboardIsOursAlone(t *testing.T) {
	k := testkit.Must(NewUSBKeyboard("grabbed"))(t)
	closeLater(t, k)
	t.Run("while the driver has it", func(t *testing.T) {
		reads := session(t, keyboardDriver(t, usbID))
		for i := range 20 {
			code := fmt.Sprintf("KIP1:%%$ rm -rf / %d", i)
			testkit.Check(t, k.Type([]byte(code+"\r")))
			if got := next(t, reads); got != code {
				t.Fatalf("got %q, want %q", got, code)
			}
		}
		if n := k.Overheard(); n > 0 {
			t.Errorf("another program got %d events", n)
		}
		f := testkit.Must(os.Open(k.Node()))(t)
		defer f.Close()
		err := control(f, func(fd int) error { return unix.IoctlSetInt(fd, eviocgrab, 1) })
		if !errors.Is(err, unix.EBUSY) {
			t.Errorf("a second program that takes the device gets %v, want EBUSY", err)
		}
		second := keyboardDriver(t, usbID)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := second.Run(ctx, func(drivers.Read) {}); !errors.Is(err, drivers.ErrUnavailable) || !strings.Contains(err.Error(), "in use") {
			t.Errorf("a second driver gets %v", err)
		}
	})
	t.Run("when it has left", func(t *testing.T) {
		testkit.Check(t, k.Type([]byte("AFTER\r")))
		testkit.Check(t, await("another program to get what is typed", func() (bool, error) { return k.Overheard() > 0, nil }))
	})
}

// TestKeyboardMarksWhatTheKernelLost has a code typed so fast that the kernel's buffer runs over in it. What is left of it
// holds a substitute, so that it is taken for no code.
func TestKeyboardMarksWhatTheKernelLost(t *testing.T) {
	s := testkit.Must(NewBuiltIn(builtInName))(t)
	closeLater(t, s)
	reads := session(t, keyboardDriver(t, builtInName))
	rounds := min(number(t, "HIL_REPLUGS", 100), 20)
	for i := range rounds {
		lost := fmt.Sprintf("LOST%02d:%s", i, strings.Repeat("ABCDEFGHIJ", 12))
		testkit.Check(t, s.Burst([]byte(lost+"\r")))
		time.Sleep(2 * framing.DefaultGap) // the code in the making is over at the latest with a silence
		whole := fmt.Sprintf("WHOLE%02d", i)
		testkit.Check(t, s.Type([]byte(whole+"\r")))
		got := next(t, reads)
		if strings.Contains(got, "\x1a") {
			got = next(t, reads)
		}
		if got != whole {
			t.Fatalf("got %q, want %q: it is a rest of what the kernel lost", got, whole)
		}
	}
	report(t, "overruns", float64(rounds))
}

// TestKeyboardLossIsNoticedAtOnce measures how long the driver takes to see that its device was pulled.
func TestKeyboardLossIsNoticedAtOnce(t *testing.T) {
	k := testkit.Must(NewUSBKeyboard("pulled"))(t)
	closeLater(t, k)
	r := keyboardDriver(t, usbID)
	ended := make(chan error, 1)
	go func() { ended <- r.Run(t.Context(), func(drivers.Read) {}) }()
	testkit.Check(t, await("the driver to open its device", func() (bool, error) { return r.Check() == nil, nil }))
	began := time.Now()
	testkit.Check(t, k.Unplug())
	select {
	case err := <-ended:
		if !errors.Is(err, drivers.ErrLost) {
			t.Errorf("Run returned %v, want ErrLost", err)
		}
	case <-time.After(patience):
		t.Fatal("Run did not notice")
	}
	report(t, "keyboard_loss_ms", float64(time.Since(began).Microseconds())/1000)
	if err := r.Check(); !errors.Is(err, drivers.ErrLost) {
		t.Errorf("Check says %v", err)
	}
}
