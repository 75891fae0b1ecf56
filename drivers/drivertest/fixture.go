package drivertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/kipass/kipass/drivers"
)

// Fixture is a reader under test together with the functions that play its device. Functions that a family has no use for are
// nil, and what needs them is left out.
type Fixture struct {
	Reader drivers.Reader // of a framing.Rule with Codes
	Name   string         // what Read.Reader must say

	// Type makes the device send b, as it is. It returns when b is on its way; while unplugged it does nothing.
	Type func(b []byte)
	// Ends lists everything that ends a frame, "" for silence. The first one is used where it does not matter.
	Ends []string
	// Wire returns the bytes that carry a frame with one of Ends; nil is the frame followed by the end. A device that
	// packs its frames names its packing in Ends.
	Wire func(frame, end string) []byte
	// Hush lets the silence pass that ends a frame, once the device has sent all. It may be called again while the frame
	// does not come. Required if Ends holds "".
	Hush func()
	// Unplug takes the device away in the middle of whatever it does; Replug brings it back. Run must then fail.
	Unplug, Replug func()
	// Settle waits until the driver has taken what was typed, as far as that can be known. Optional.
	Settle func()

	Bytes   bool // any byte can be typed, not only printable ASCII
	Flood   bool // frames of a megabyte can be typed in reasonable time
	AIM     bool // the device may put an AIM identifier before a code
	Replugs int  // how many replugs to go through while scanning; 0 is 100
}

func (f Fixture) wire(frame, end string) []byte {
	if f.Wire != nil {
		return f.Wire(frame, end)
	}
	return []byte(frame + end)
}

// patience bounds every wait of the suite for something that must happen. It is long because the machine may be busy; no
// run that passes waits for it.
const patience = 5 * time.Minute

// supervisor runs a reader as the gate's supervisor does: again and again, with a short pause.
type supervisor struct {
	t     *testing.T
	f     Fixture
	stop  context.CancelFunc
	ended chan struct{}
	reads chan drivers.Read

	silent bool // the last frame was to be ended by silence

	mu      sync.Mutex
	running bool
	late    int     // how often emit was called when Run had returned
	errs    []error // what Run returned
	probes  int
}

func supervise(t *testing.T, f Fixture) *supervisor {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &supervisor{t: t, f: f, stop: cancel, ended: make(chan struct{}), reads: make(chan drivers.Read, 1<<14)}
	go func() {
		defer close(s.ended)
		for ctx.Err() == nil {
			s.set(true)
			err := f.Reader.Run(ctx, s.emit)
			s.set(false)
			s.returned(err)
			select {
			case <-ctx.Done():
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(s.finish)
	return s
}

func (s *supervisor) emit(r drivers.Read) {
	s.mu.Lock()
	if !s.running {
		s.late++
	}
	s.mu.Unlock()
	s.reads <- r
}

func (s *supervisor) set(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = on
}

func (s *supervisor) returned(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, err)
}

// finish stops the reader and checks what must hold after every use.
func (s *supervisor) finish() {
	s.t.Helper()
	select {
	case <-s.ended:
		return
	default:
	}
	s.stop()
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatal("Run did not return after its context ended")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.late > 0 {
		s.t.Errorf("emit was called %d times after Run had returned", s.late)
	}
	for i, err := range s.errs {
		last := i == len(s.errs)-1 && errors.Is(err, context.Canceled)
		if !last && !errors.Is(err, drivers.ErrLost) && !errors.Is(err, drivers.ErrUnavailable) {
			s.t.Errorf("Run returned %v, want an error wrapping ErrLost or ErrUnavailable", err)
		}
	}
}

// lost waits until Run has failed at least once more than before with an error wrapping want.
func (s *supervisor) lost(before int, want error) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		for _, err := range s.errs[min(before, len(s.errs)):] {
			if errors.Is(err, want) {
				s.mu.Unlock()
				return
			}
		}
		s.mu.Unlock()
		if time.Now().After(deadline) {
			s.t.Fatalf("Run did not return an error wrapping %q", want)
		}
	}
}

// failures returns how often Run has returned.
func (s *supervisor) failures() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.errs)
}

// next returns the next frame.
func (s *supervisor) next() drivers.Read {
	s.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		select {
		case r := <-s.reads:
			return s.checked(r)
		case <-time.After(100 * time.Millisecond):
			if s.silent {
				s.f.Hush()
			}
		}
	}
	s.t.Fatal("no frame came")
	panic("unreachable")
}

func (s *supervisor) checked(r drivers.Read) drivers.Read {
	s.t.Helper()
	if r.Reader != s.f.Name {
		s.t.Errorf("the frame says it is of reader %q, want %q", r.Reader, s.f.Name)
	}
	if age := time.Since(r.At); age.Abs() > time.Hour { // by the clock of the fixture
		s.t.Errorf("the frame says it arrived %s ago", age)
	}
	if len(r.Data) == 0 || len(r.Data) > drivers.MaxFrame {
		s.t.Errorf("the frame has %d bytes, want 1 to %d", len(r.Data), drivers.MaxFrame)
	}
	return r
}

// want checks that the next frames are exactly these.
func (s *supervisor) want(frames ...string) {
	s.t.Helper()
	for _, frame := range frames {
		if got := string(s.next().Data); got != frame {
			s.t.Fatalf("got the frame %.60q of %d bytes, want %.60q of %d", got, len(got), frame, len(frame))
		}
	}
}

// ready shows probes until one comes through, then makes sure that none is left: the reader is open and its next frame
// is the test's. It returns the frames that came before the first probe.
func (s *supervisor) ready() (before []string) {
	s.t.Helper()
	first := s.probes
	deadline := time.Now().Add(patience)
	for {
		if time.Now().After(deadline) {
			s.t.Fatal("the reader delivers nothing")
		}
		s.probes++
		s.send(probe(s.probes))
		got, came := s.soon(20 * time.Millisecond)
		for came && !isProbe(got, first, s.probes) {
			before = append(before, got)
			got, came = s.soon(20 * time.Millisecond)
		}
		if came {
			break
		}
	}
	s.probes++
	s.send(probe(s.probes))
	for {
		switch got := string(s.next().Data); {
		case got == probe(s.probes):
			return before
		case !isProbe(got, first, s.probes):
			before = append(before, got)
		}
	}
}

func (s *supervisor) soon(d time.Duration) (string, bool) {
	s.t.Helper()
	select {
	case r := <-s.reads:
		return string(s.checked(r).Data), true
	case <-time.After(d):
		return "", false
	}
}

// probeBase keeps probes apart from the codes of tests.
const probeBase = 5_000_000

func probe(n int) string { return Code(probeBase+n, 40) }

func isProbe(got string, after, upTo int) bool {
	var n int
	_, err := fmt.Sscanf(got, Codes.Begins+"%07d", &n)
	n -= probeBase
	return err == nil && n > after && n <= upTo && got == probe(n)
}

// send types one frame with the first end.
func (s *supervisor) send(frame string) {
	s.sendWith(frame, s.f.Ends[0])
}

// sendWith types one frame with the end given.
func (s *supervisor) sendWith(frame, end string) {
	s.f.Type(s.f.wire(frame, end))
	s.end(end)
}

// end lets silence pass if that is the end of the frame just typed.
func (s *supervisor) end(end string) {
	if s.silent = end == ""; s.silent {
		s.f.Hush()
	}
}

func (s *supervisor) settle() {
	if s.f.Settle != nil {
		s.f.Settle()
	}
}
