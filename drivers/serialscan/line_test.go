package serialscan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tarm/serial"
	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/drivers/framing"
	"github.com/kipass/kipass/drivers/internal/device"
	"github.com/kipass/kipass/internal/testkit"
)

func TestWhatCannotBeOpenedIsExplained(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("KIP1:A\r"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ rule, device, words string }{
		{"absent", filepath.Join(t.TempDir(), "absent"), "plugged in"},
		{"a file", file, "not a serial line"},
		{"a folder", t.TempDir(), "not a serial line"},
		{"a device of another kind", "/dev/null", "not a serial line"},
		{"the console", "/dev/ptmx", "console"},
	} {
		t.Run(c.rule, func(t *testing.T) { refuses(t, c.device, c.words) })
	}
}

// refuses checks that device cannot be opened, for the reason in words.
func refuses(t *testing.T, device, words string) {
	t.Helper()
	r := newReader(t, Options{Device: device})
	err := r.Run(context.Background(), func(drivers.Read) { t.Error("a frame was delivered") })
	if !errors.Is(err, drivers.ErrUnavailable) || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), device) {
		t.Errorf("Run returned %v, want ErrUnavailable that says %q of %s", err, words, device)
	}
	if check := r.Check(); !errors.Is(check, drivers.ErrUnavailable) || !strings.Contains(check.Error(), words) {
		t.Errorf("Check says %v", check)
	}
}

func TestALineWithoutPermissionIsExplained(t *testing.T) {
	p := newPty(t)
	device, err := filepath.EvalSymlinks(p.Path())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		defer close(done)
		if os.Geteuid() != 0 {
			done <- os.Chmod(device, 0)
		} else {
			// Root opens everything, so this thread opens files as nobody. It stays locked and ends with its goroutine.
			runtime.LockOSThread()
			const nobody = 65534
			done <- unix.Setfsuid(nobody)
		}
		refuses(t, device, "dialout")
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
	<-done
}

func TestALineInUseIsExplained(t *testing.T) {
	p := newPty(t)
	first := newReader(t, Options{Device: p.Path()})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- first.Run(ctx, func(drivers.Read) {}) }()
	drivertest.Opened(t, first)
	refuses(t, p.Path(), "in use by another program")
	cancel()
	<-done
	if check := first.Check(); !errors.Is(check, drivers.ErrUnavailable) {
		t.Errorf("Check says %v of a closed reader", check)
	}
	running(t, p, Options{}) // the lock goes with the line: the next one gets it
}

func TestEveryBaudRateIsSupportedByTheLibrary(t *testing.T) {
	p := newPty(t)
	for _, baud := range Bauds {
		port, err := serial.OpenPort(&serial.Config{Name: p.Path(), Baud: baud, ReadTimeout: readWait})
		if err != nil {
			t.Errorf("%d: %v", baud, err)
			continue
		}
		port.Close()
	}
}

func TestWrongOptionsAreExplained(t *testing.T) {
	ok := Options{Name: "front", Device: "/dev/ttyACM0"}
	for _, c := range []struct {
		words  string
		change func(*Options)
	}{
		{"needs a name", func(opts *Options) { opts.Name = "" }},
		{"needs a device", func(opts *Options) { opts.Device = "" }},
		{"baud rate 250000 is not supported: use one of 1200", func(opts *Options) { opts.Baud = 250000 }},
		{"baud rate -1", func(opts *Options) { opts.Baud = -1 }},
		{"unknown terminator", func(opts *Options) { opts.Framing.Terminator = "return" }},
		{"idle gap", func(opts *Options) { opts.Framing.Gap = -time.Second }},
		{"unknown reader model", func(opts *Options) { opts.Model = "acme" }},
		{"unknown trigger", func(opts *Options) { opts.Trigger = "foot" }},
		{"unknown light", func(opts *Options) { opts.Light = "blue" }},
		{"no trigger command is known for model generic", func(opts *Options) { opts.Trigger = TriggerHost }},
		{"no light off command is known for model zebra-ssi", func(opts *Options) { opts.Model, opts.Light = ZebraSSI, LightOff }},
	} {
		t.Run(c.words, func(t *testing.T) {
			o := ok
			c.change(&o)
			if _, err := New(o); err == nil || !strings.Contains(err.Error(), c.words) {
				t.Errorf("New returned %v", err)
			}
		})
	}
	if r, err := New(ok); err != nil || r.String() != "serial /dev/ttyACM0 (front)" {
		t.Errorf("New returned %v, %v", r, err)
	}
	ok.Trigger, ok.Commands.Trigger = TriggerHost, []byte("T")
	if _, err := New(ok); err != nil {
		t.Errorf("a trigger command given in the options is not taken: %v", err)
	}
}

// running starts a reader of its own on the line and waits until it is open.
func running(t *testing.T, p *drivertest.Pty, opts Options) (*Reader, *drivertest.Running) {
	t.Helper()
	opts.Device = p.Path()
	r := newReader(t, opts)
	run := drivertest.Run(t, r)
	drivertest.Opened(t, r)
	return r, run
}

func say(t *testing.T, p *drivertest.Pty, s string) {
	t.Helper()
	testkit.Must(p.Write([]byte(s)))(t)
}

func TestWhatWaitedBeforeOpeningIsDiscarded(t *testing.T) {
	p := newPty(t)
	say(t, p, "KIP1:STALE\rKIP1:ST")
	_, run := running(t, p, Options{})
	say(t, p, "KIP1:A\r")
	run.Want("KIP1:A")
}

// TestOnlyWhatPrecedesTheOpeningIsDiscarded shows a code in the moment in which the line is set up.
func TestOnlyWhatPrecedesTheOpeningIsDiscarded(t *testing.T) {
	p := newPty(t)
	say(t, p, "KIP1:STALE\r")
	lock := testkit.Must(lockLine(p.Path()))(t)
	const first = "KIP1:FIRST\x03\r"
	say(t, p, first)
	l := testkit.Must(connectLine(lock, p.Path(), DefaultBaud))(t)
	defer l.close()
	var got []byte
	for buf := make([]byte, 64); len(got) < len(first); {
		n, err := l.read(buf)
		if err != nil && !errors.Is(err, errQuick) {
			t.Fatal(err)
		}
		got = append(got, buf[:n]...)
	}
	if string(got) != first {
		t.Errorf("read %q, want %q", got, first)
	}
}

func TestNoiseIsReportedAndForgotten(t *testing.T) {
	p := newPty(t)
	r, run := running(t, p, Options{Baud: 9600})
	for i := range device.MaxGarbled {
		if err := r.Check(); err != nil {
			t.Fatalf("Check says %v after %d frames of noise", err, i)
		}
		say(t, p, fmt.Sprintf("\xf8\x86\x00\xe6%d\r", i))
		run.Next()
	}
	if err := r.Check(); !errors.Is(err, drivers.ErrGarbled) || !strings.Contains(err.Error(), "check baud (now 9600)") {
		t.Errorf("Check says %v after %d frames of noise", err, device.MaxGarbled)
	}
	say(t, p, "KIP1:A\r")
	run.Next()
	if err := r.Check(); err != nil {
		t.Errorf("Check says %v after a good frame", err)
	}
}

func TestATerminatedCodeDoesNotWaitForSilence(t *testing.T) {
	p := newPty(t)
	_, r, _ := suiteFixtureOn(t, p, Options{}, drivertest.Closed) // its clock stands still, so that no silence ever passes
	run := drivertest.Run(t, r)
	drivertest.Opened(t, r)
	say(t, p, "KIP1:A")
	p.Drained(patience)
	say(t, p, "\r")
	run.Want("KIP1:A")
}

func TestSilenceEndsACodeAtTheTimeOfItsLastByte(t *testing.T) {
	p := newPty(t)
	f, r, clock := suiteFixtureOn(t, p, Options{Framing: framing.Rule{Terminator: framing.None}}, drivertest.Closed)
	run := drivertest.Run(t, r)
	drivertest.Opened(t, r)
	began := clock.Now()
	say(t, p, "KIP1:\rA")
	var read drivers.Read
	drivertest.Await(t, "silence to end the code", func() bool {
		f.Hush()
		select {
		case read = <-run.Frames():
			return true
		default:
			return false
		}
	})
	if string(read.Data) != "KIP1:\rA" || clock.Now().Sub(read.At) < framing.MaxGap || read.At.Before(began) {
		t.Errorf("got %q, %s after its last byte", read.Data, clock.Now().Sub(read.At))
	}
}

// TestADeviceThatTakesNoBytes holds that commands nobody takes neither stop the reading nor the closing.
func TestADeviceThatTakesNoBytes(t *testing.T) {
	p := newPty(t)
	fd, err := unix.Open(p.Path(), unix.O_WRONLY|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	r, run := running(t, p, Options{Model: Honeywell, Recheck: time.Millisecond})
	for {
		if _, err := unix.Write(fd, make([]byte, 1024)); errors.Is(err, unix.EAGAIN) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	drivertest.Await(t, "the silence of the reader to be reported", func() bool {
		err := r.Check()
		return err != nil && strings.Contains(err.Error(), "answers no command")
	})
	for range 3 {
		say(t, p, "KIP1:A\r")
		run.Want("KIP1:A")
	}
}

// TestAnIdleLineCostsNothing counts the reads of a silent line: each waits, and a loop that spins makes thousands.
func TestAnIdleLineCostsNothing(t *testing.T) {
	p := newPty(t)
	l := testkit.Must(openLine(p.Path(), DefaultBaud))(t)
	defer l.close()
	buf, began := make([]byte, 64), time.Now()
	const reads = 5
	for range reads {
		if n, err := l.read(buf); n != 0 || err != nil && !errors.Is(err, errQuick) {
			t.Fatalf("read %d bytes, %v", n, err)
		}
	}
	if span := time.Since(began); span < reads*readWait/2 {
		t.Errorf("%d reads of silence took %s, want at least half of %s each", reads, span, readWait)
	}
}

// TestEveryHangUpIsNoticed holds that a line that is gone ends in ErrLost after a few reads, however it went.
func TestEveryHangUpIsNoticed(t *testing.T) {
	for name, how := range map[string]drivertest.Hangup{"line closed": drivertest.Closed, "line hung up": drivertest.HungUp} {
		t.Run(name, func(t *testing.T) {
			needsRoot(t, how)
			p := newPty(t)
			l, err := openLine(p.Path(), DefaultBaud)
			if err != nil {
				t.Fatal(err)
			}
			defer l.close()
			if err := p.Unplug(how); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 64)
			for i := 1; ; i++ {
				if _, err := l.read(buf); errors.Is(err, drivers.ErrLost) {
					return
				}
				if i == 3 {
					t.Fatal("not noticed after 3 reads")
				}
			}
		})
	}
}

// TestNoCodeIsLogged holds that neither logs nor errors tell what was read.
func TestNoCodeIsLogged(t *testing.T) {
	p := newPty(t)
	logger, log := testkit.NewLogger()
	r, run := running(t, p, Options{Model: Honeywell, Logger: logger})
	for i := range device.MaxGarbled {
		say(t, p, fmt.Sprintf("KIP1:SECRET\x07%d\r", i))
		run.Next()
	}
	said := r.Check().Error()
	say(t, p, "KIP1:SECRET")
	testkit.Check(t, p.Unplug(drivertest.Closed))
	said += run.Err().Error() + log.String()
	if strings.Contains(said, "SECRET") || !strings.Contains(said, "front") {
		t.Errorf("said: %s", said)
	}
}
