package guest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/drivers/framing"
	"github.com/kipass/kipass/drivers/serialscan"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/lab/hil/job"
)

func newSerialReader(t *testing.T, name string) *SerialReader {
	t.Helper()
	r := testkit.Must(NewSerialReader(name))(t)
	t.Cleanup(func() { testkit.Check(t, r.Close()) })
	return r
}

func driverOf(t *testing.T, r *SerialReader) *serialscan.Reader {
	t.Helper()
	return testkit.Must(serialscan.New(serialscan.Options{
		Name: "front", Device: r.Link, Framing: framing.Rule{Code: drivertest.Codes}, Logger: slog.New(slog.DiscardHandler),
	}))(t)
}

// TestSerialReaderOverUSB holds the driver to the readers' contract on a real USB line that is really pulled.
func TestSerialReaderOverUSB(t *testing.T) {
	replugs := number(t, "HIL_REPLUGS", 100)
	parts := 0
	drivertest.ReaderSuite(t, func(t *testing.T) drivertest.Fixture {
		parts++
		r := newSerialReader(t, fmt.Sprintf("serial%d", parts))
		return drivertest.Fixture{
			Reader: driverOf(t, r), Name: "front",
			Type: func(b []byte) { testkit.Check(t, r.Type(b)) },
			Ends: []string{"\r", "\n", "\r\n", "\t", "\x03", ""},
			Hush: func() { time.Sleep(2 * framing.DefaultGap) },
			Unplug: func() {
				report(t, "serial_unplugs", count("serial_unplugs"))
				testkit.Check(t, r.Unplug())
			},
			Replug: func() { testkit.Check(t, r.Replug()) },
			Bytes:  true, Flood: true, AIM: true, Replugs: replugs,
		}
	})
}

// TestSerialLineChangesItsNumber has a program that never lets go of the first line: the reader then comes back under another
// number, and is followed there.
func TestSerialLineChangesItsNumber(t *testing.T) {
	r := newSerialReader(t, "renumbered")
	d := driverOf(t, r)
	first := testkit.Must(r.Line())(t)
	hog := testkit.Must(os.OpenFile(first, os.O_RDWR|unix.O_NOCTTY, 0))(t)
	defer hog.Close()
	reads := make(chan string, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			err := d.Run(ctx, func(got drivers.Read) { reads <- string(got.Data) })
			if ctx.Err() == nil && !errors.Is(err, drivers.ErrLost) && !errors.Is(err, drivers.ErrUnavailable) {
				t.Errorf("Run returned %v", err)
			}
			time.Sleep(time.Millisecond)
		}
	}()
	defer func() { cancel(); <-ended }()
	comes := func(code string) {
		t.Helper()
		testkit.Check(t, await(code, func() (bool, error) {
			testkit.Check(t, r.Type([]byte(code+"\r")))
			select {
			case got := <-reads:
				return strings.HasSuffix(got, code), nil
			case <-time.After(50 * time.Millisecond):
				return false, nil
			}
		}))
	}
	comes(drivertest.Code(1, 40))
	testkit.Check(t, r.Unplug())
	testkit.Check(t, r.Replug())
	second := testkit.Must(r.Line())(t)
	if first == second {
		t.Fatalf("the reader came back as %s although that is still held", second)
	}
	comes(drivertest.Code(2, 40))
	report(t, "serial_renumbered", 1)
}

var counts = map[string]float64{}

// count counts the calls by name. Tests here run one after the other.
func count(name string) float64 {
	counts[name]++
	return counts[name]
}

// report gives the host a figure; the last one by a name stands.
func report(t *testing.T, name string, value float64) {
	t.Helper()
	testkit.Check(t, job.NewEncoder(os.Stdout).Encode(job.Fact{Name: name, Value: value}))
}

// number returns a parameter of the run.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	var n int
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatalf("%s=%q: %v", name, s, err)
	}
	return n
}
