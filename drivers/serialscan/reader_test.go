package serialscan

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/drivers/framing"
)

func newPty(t *testing.T) *drivertest.Pty {
	t.Helper()
	p, err := drivertest.OpenPty(filepath.Join(t.TempDir(), "usb-reader"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func newReader(t *testing.T, o Options) *Reader {
	t.Helper()
	o.Name = "front"
	if testing.Verbose() {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// patientGap is a silence that a busy machine does not make between two bytes of one code.
const patientGap = 700 * time.Millisecond

func bench(o Options, how drivertest.Hangup, ends ...string) func(t *testing.T) drivertest.Bench {
	return func(t *testing.T) drivertest.Bench {
		if how == drivertest.HungUp && os.Geteuid() != 0 {
			t.Skip("hanging up a terminal needs root")
		}
		var p *drivertest.Pty
		return benchOn(t, o, how, &p, ends...)
	}
}

// benchOn is a bench on a new line, which it tells.
func benchOn(t *testing.T, o Options, how drivertest.Hangup, line **drivertest.Pty, ends ...string) drivertest.Bench {
	p := newPty(t)
	*line = p
	o.Device = p.Path()
	o.Framing.Gap = patientGap
	do := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	return drivertest.Bench{
		Reader: newReader(t, o),
		Name:   "front",
		Type:   func(b []byte) { _, err := p.Write(b); do(err) },
		Ends:   ends,
		Hush:   func() { p.Drained(patience); time.Sleep(patientGap + 2*readWait) },
		Unplug: func() { do(p.Unplug(how)) },
		Replug: func() { do(p.Replug()) },
		Settle: func() { p.Drained(patience) },
		Bytes:  true,
		Flood:  true,
		AIM:    true,
	}
}

func TestReaderSuite(t *testing.T) {
	t.Run("automatic end, line closed", func(t *testing.T) {
		t.Parallel()
		drivertest.ReaderSuite(t, bench(Options{}, drivertest.Closed, "\r", "\n", "\r\n", "\t", "\x03", ""))
	})
	t.Run("automatic end, line hung up", func(t *testing.T) {
		t.Parallel()
		drivertest.ReaderSuite(t, bench(Options{}, drivertest.HungUp, "\r\n", ""))
	})
	t.Run("named end", func(t *testing.T) {
		t.Parallel()
		drivertest.ReaderSuite(t, func(t *testing.T) drivertest.Bench {
			b := bench(Options{Framing: framing.Rule{Terminator: framing.CRLF}, Baud: 9600}, drivertest.Closed, "\r\n")(t)
			b.Replugs = 20
			return b
		})
	})
}
