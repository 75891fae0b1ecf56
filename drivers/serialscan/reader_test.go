package serialscan

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/drivers/framing"
	"github.com/kipass/kipass/internal/testkit"
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

func newReader(t *testing.T, opts Options) *Reader {
	t.Helper()
	opts.Name = "front"
	return testkit.Must(New(opts))(t)
}

// newSuiteFixture returns what makes a reader on a new line, by a clock that stands still until a silence is to pass.
func newSuiteFixture(opts Options, how drivertest.Hangup, ends ...string) func(t *testing.T) drivertest.Fixture {
	return func(t *testing.T) drivertest.Fixture {
		needsRoot(t, how)
		f, _, _ := suiteFixtureOn(t, newPty(t), opts, how, ends...)
		return f
	}
}

func needsRoot(t *testing.T, how drivertest.Hangup) {
	if how == drivertest.HungUp && os.Geteuid() != 0 {
		t.Skip("hanging up a terminal needs root")
	}
}

func suiteFixtureOn(t *testing.T, p *drivertest.Pty, opts Options, how drivertest.Hangup, ends ...string) (drivertest.Fixture, *Reader, *testkit.Clock) {
	opts.Device, opts.Framing.Gap, opts.Framing.Code = p.Path(), framing.MaxGap, drivertest.Codes
	r, clock := newReader(t, opts), testkit.NewClock(time.Now())
	r.now = clock.Now
	return drivertest.Fixture{
		Reader: r,
		Name:   "front",
		Type:   func(b []byte) { say(t, p, string(b)) },
		Ends:   ends,
		Hush:   func() { p.Drained(patience); clock.Add(framing.MaxGap) },
		Unplug: func() { testkit.Check(t, p.Unplug(how)) },
		Replug: func() { testkit.Check(t, p.Replug()) },
		Settle: func() { p.Drained(patience) },
		Bytes:  true,
		Flood:  true,
		AIM:    true,
	}, r, clock
}

func TestReaderSuite(t *testing.T) {
	t.Parallel()
	t.Run("automatic end, line closed", func(t *testing.T) {
		t.Parallel()
		drivertest.ReaderSuite(t, newSuiteFixture(Options{}, drivertest.Closed, "\r", "\n", "\r\n", "\t", "\x03", ""))
	})
	t.Run("decorations", func(t *testing.T) {
		t.Parallel()
		drivertest.DecorationSuite(t, newSuiteFixture(Options{}, drivertest.Closed, "\r\n"))
		drivertest.DecorationSuite(t, newSuiteFixture(Options{Framing: framing.Rule{Terminator: framing.ETX}}, drivertest.Closed, "\x03"))
	})
	t.Run("flaws", func(t *testing.T) {
		t.Parallel()
		drivertest.FlawSuite(t, newSuiteFixture(Options{}, drivertest.Closed, "\r", ""))
	})
	t.Run("automatic end, line hung up", func(t *testing.T) {
		t.Parallel()
		drivertest.ReaderSuite(t, newSuiteFixture(Options{}, drivertest.HungUp, "\r\n", ""))
	})
	t.Run("named end", func(t *testing.T) {
		t.Parallel()
		drivertest.ReaderSuite(t, func(t *testing.T) drivertest.Fixture {
			f := newSuiteFixture(Options{Framing: framing.Rule{Terminator: framing.CRLF}, Baud: 9600}, drivertest.Closed, "\r\n")(t)
			f.Replugs = 20
			return f
		})
	})
}
