package serialscan

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/internal/testkit"
)

const patience = 5 * time.Minute

// slowness is by how much the clock of a reader under test runs slow, so that a simulated reader on a busy machine has
// that much more time for its answers.
const slowness = 4

func slowClock() func() time.Time {
	began := time.Now()
	return func() time.Time { return began.Add(time.Since(began) / slowness) }
}

// fixture is a reader with a simulated device, run as the gate does.
type fixture struct {
	t     *testing.T
	ctx   context.Context
	pty   *drivertest.Pty
	sim   *drivertest.Simulator
	r     *Reader
	reads chan drivers.Read
}

func newFixture(t *testing.T, opts Options, faults drivertest.Faults) *fixture {
	t.Helper()
	p := newPty(t)
	sim := testkit.Must(drivertest.Simulate(p, string(opts.Model), faults))(t)
	opts.Device = p.Path()
	ctx, cancel := context.WithCancel(context.Background())
	st := &fixture{t: t, ctx: ctx, pty: p, sim: sim, r: newReader(t, opts), reads: make(chan drivers.Read, 1<<12)}
	st.r.now = slowClock()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			err := st.r.Run(ctx, func(r drivers.Read) { st.reads <- r })
			if ctx.Err() == nil && !errors.Is(err, drivers.ErrLost) && !errors.Is(err, drivers.ErrUnavailable) {
				t.Errorf("Run returned %v", err)
			}
			time.Sleep(2 * time.Millisecond)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
		if n := sim.State().Flashed; n > 0 {
			t.Errorf("%d commands went to the flash memory", n)
		}
		for len(st.reads) > 0 {
			t.Errorf("%q was delivered beyond what was shown", (<-st.reads).Data)
		}
	})
	return st
}

func (s *fixture) await(what string, wish func(drivertest.State) bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	if err := s.sim.Await(ctx, wish); err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
}

func reads(st drivertest.State) bool { return st.Reads }

// scan shows codes one after the other, each as soon as the reader would read it, and wants them whole.
func (s *fixture) scan(from, n, size int) {
	s.t.Helper()
	for i := from; i < from+n; i++ {
		code := fmt.Sprintf("KIP1:%04d", i)
		for k := 0; len(code) < size; k++ {
			code += fmt.Sprintf(":%X", k*i+k)
		}
		for s.await("reading", reads); !s.sim.Scan(code); s.await("reading", reads) {
		}
		s.want(code)
	}
}

func (s *fixture) want(code string) {
	s.t.Helper()
	select {
	case r := <-s.reads:
		if string(r.Data) != code {
			s.t.Fatalf("got %.60q of %d bytes, want %.60q of %d", r.Data, len(r.Data), code, len(code))
		}
	case <-time.After(patience):
		s.t.Fatalf("%.20q was not delivered", code)
	}
}

func TestModels(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{
		{Model: Generic},
		{Model: Honeywell},
		{Model: Honeywell, Trigger: TriggerHost, Light: LightOff},
		{Model: ZebraSSI},
		{Model: ZebraSSI, Trigger: TriggerHost},
		{Model: Grow, Light: LightOn},
		{Model: Grow, Trigger: TriggerHost, Light: LightOff},
		{Model: Newland},
		{Model: Datalogic},
	} {
		t.Run(fmt.Sprintf("%s, triggered by the %s", o.Model, o.withTrigger()), func(t *testing.T) {
			t.Parallel()
			o.Recheck = 300 * time.Millisecond
			st := newFixture(t, o, drivertest.Faults{})
			ready := o.Model == Generic || o.Model == Newland || o.Model == Datalogic
			if ready {
				st.probe()
			}
			st.scan(0, 5, 300)
			if o.Light != "" {
				st.await("light", func(s drivertest.State) bool { return s.Light == (o.Light == LightOn) })
			}

			err := st.r.SetActive(st.ctx, false)
			if o.Model == Generic || o.Model == Newland {
				if !errors.Is(err, errors.ErrUnsupported) {
					t.Errorf("switching off gave %v, want ErrUnsupported", err)
				}
			} else {
				if err != nil {
					t.Fatal(err)
				}
				st.await("out of service", func(s drivertest.State) bool { return !s.Reads })
				if err := st.r.SetActive(st.ctx, true); err != nil {
					t.Fatal(err)
				}
			}
			st.scan(10, 3, 50)

			st.sim.FactoryReset()
			st.scan(20, 3, 50)

			if err := st.pty.Unplug(drivertest.Closed); err != nil {
				t.Fatal(err)
			}
			st.await("without power", func(s drivertest.State) bool {
				return o.Model == Generic || o.Model == Newland || o.Model == Datalogic || !s.Reads
			})
			if err := st.pty.Replug(); err != nil {
				t.Fatal(err)
			}
			if ready {
				st.probe()
			}
			st.scan(30, 3, 50)
			if err := st.r.Check(); err != nil {
				t.Errorf("Check says %v of a reader that works", err)
			}
		})
	}
}

func (opts Options) withTrigger() Trigger {
	if opts.Trigger == "" {
		return TriggerReader
	}
	return opts.Trigger
}

// probe shows codes, each another, until one comes through, for readers that read before anyone listens. What was shown
// before it can come no more then. Each is waited for longer than the one before, so that a slow machine catches up.
func (s *fixture) probe() {
	s.t.Helper()
	for i, wait := 0, 50*time.Millisecond; wait < patience; i, wait = i+1, 2*wait {
		code := fmt.Sprintf("PROBE%d", i)
		if s.sim.Scan(code) && s.comes(code, wait) {
			return
		}
	}
	s.t.Fatal("the reader delivers nothing")
}

// comes tells whether a code comes within the time given, and drops what comes before it.
func (s *fixture) comes(code string, wait time.Duration) bool {
	late := time.NewTimer(wait)
	defer late.Stop()
	for {
		select {
		case r := <-s.reads:
			if string(r.Data) == code {
				return true
			}
		case <-late.C:
			return false
		}
	}
}

func TestFaultsOfReaders(t *testing.T) {
	t.Parallel()
	cases := []struct {
		fault  string
		models []Model
		faults drivertest.Faults
		size   int
	}{
		{"answers glued to codes", []Model{Honeywell, Grow, ZebraSSI, Newland}, drivertest.Faults{GlueAnswers: true}, 100},
		{"every third message loses a byte", []Model{ZebraSSI}, drivertest.Faults{LoseByte: 3}, 100},
		{"every second packet of a long code loses a byte", []Model{ZebraSSI}, drivertest.Faults{LoseByte: 2}, 700},
		{"wrong check sums", []Model{ZebraSSI, Grow}, drivertest.Faults{WrongSums: 2}, 100},
		{"9600 baud", []Model{Generic, Honeywell, Grow, ZebraSSI, Newland, Datalogic}, drivertest.Faults{Baud: 9600}, 200},
	}
	for _, c := range cases {
		for _, m := range c.models {
			t.Run(c.fault+", "+string(m), func(t *testing.T) {
				t.Parallel()
				begin := c.faults
				begin.LoseByte = 0 // the protocol numbers no packets: what is lost among the first settings cannot be told apart
				st := newFixture(t, Options{Model: m}, begin)
				switch m {
				case Generic, Datalogic:
					st.probe()
				case Newland:
					st.await("opened", func(s drivertest.State) bool { return s.Commands > 0 })
				}
				if c.faults.LoseByte > 0 {
					st.scan(0, 1, 50)
					st.sim.SetFaults(c.faults)
				}
				if c.faults.GlueAnswers {
					for i := range 5 {
						code := fmt.Sprintf("KIP1:%04d", i)
						st.await("an answer held back", func(s drivertest.State) bool { return s.Held > 0 || s.Reads })
						if st.sim.Scan(code) {
							st.want(code)
							continue
						}
						st.sim.SetFaults(drivertest.Faults{}) // it does not read yet: let the settings through
						st.await("reading", reads)
						st.sim.SetFaults(c.faults)
					}
				}
				st.scan(100, 1200/c.size, c.size)
			})
		}
	}
}

func TestLostBytesInAnswersAreSurvived(t *testing.T) {
	t.Parallel()
	for _, m := range []Model{Honeywell, Grow} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			st := newFixture(t, Options{Model: m, Recheck: 300 * time.Millisecond}, drivertest.Faults{LoseByte: 2})
			st.await("reading", reads)
			st.sim.SetFaults(drivertest.Faults{})
			// What is left of a spoiled answer may come as a frame or spoil one code; after that all is well.
			st.probe()
			st.scan(0, 5, 100)
		})
	}
}

func TestAReaderThatAnswersNothingIsReported(t *testing.T) {
	t.Parallel()
	for _, m := range []Model{Honeywell, Grow, ZebraSSI, Newland} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			st := newFixture(t, Options{Model: m}, drivertest.Faults{Mute: true})
			drivertest.Await(t, "the silence of the reader to be reported", func() bool {
				err := st.r.Check()
				return err != nil && strings.Contains(err.Error(), string(m)) && !errors.Is(err, drivers.ErrGarbled) && !errors.Is(err, drivers.ErrUnavailable)
			})
			if _, err := st.pty.Write([]byte("KIP1:A\r")); err != nil {
				t.Fatal(err)
			}
			st.want("KIP1:A")
		})
	}
}

func TestCommandsCanBeReplaced(t *testing.T) {
	t.Parallel()
	p := newPty(t)
	r := newReader(t, Options{Device: p.Path(), Model: Honeywell, Commands: Commands{
		Identify: []byte{}, Present: []byte("GO"), Disable: []byte("HALT"), Accepted: []byte("OK"),
	}})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done, got := make(chan error, 1), make(chan string, 8)
	go func() { done <- r.Run(ctx, func(f drivers.Read) { got <- string(f.Data) }) }()
	told := func(want string) {
		t.Helper()
		b := make([]byte, len(want))
		for n := 0; n < len(b); {
			k, err := p.Read(b[n:])
			if err != nil {
				t.Fatal(err)
			}
			n += k
		}
		if string(b) != want {
			t.Fatalf("the reader was told %q, want %q", b, want)
		}
	}
	say := func(s string) {
		t.Helper()
		if _, err := p.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	told("GO")
	say("OKKIP1:A\r")
	if f := <-got; f != "KIP1:A" {
		t.Fatalf("got %q, want the code without the answer", f)
	}
	if err := r.SetActive(ctx, false); err != nil {
		t.Fatal(err)
	}
	told("HALT")
	cancel()
	<-done
}

func TestSuiteWithTalkingReaders(t *testing.T) {
	t.Parallel()
	for _, m := range []Model{Honeywell, Grow, Datalogic, Newland} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			fixture := func(t *testing.T) drivertest.Fixture {
				p := newPty(t)
				// Each piece that is typed lets a little time pass, so that settings are renewed among the codes.
				f, _, clock := suiteFixtureOn(t, p, Options{Model: m, Recheck: 20 * time.Millisecond}, drivertest.Closed, "\r\n")
				put := f.Type
				f.Type = func(b []byte) { clock.Add(time.Millisecond); put(b) }
				sim := testkit.Must(drivertest.Simulate(p, string(m), drivertest.Faults{}))(t)
				t.Cleanup(func() { sim.Close() })
				f.Replugs = 20
				f.Bytes = false // noise may hold an answer, which is then taken out
				return f
			}
			drivertest.ReaderSuite(t, fixture)
			drivertest.DecorationSuite(t, fixture)
		})
	}
}

func TestSuiteWithPackets(t *testing.T) {
	t.Parallel()
	mute := Commands{Setup: []byte{}, Identify: []byte{}, Enable: []byte{}, Present: []byte{}}
	fixture := func(t *testing.T) drivertest.Fixture {
		f := newSuiteFixture(Options{Model: ZebraSSI, Commands: mute}, drivertest.Closed, "packet")(t)
		f.Wire = func(frame, _ string) (wire []byte) {
			const maxPart = 240
			for len(frame) > maxPart {
				wire = append(wire, ssiDecodePacket(ssiGoesOn, frame[:maxPart])...)
				frame = frame[maxPart:]
			}
			return append(wire, ssiDecodePacket(0, frame)...)
		}
		return f
	}
	drivertest.ReaderSuite(t, fixture)
	drivertest.DecorationSuite(t, fixture)
}
