package drivertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/drivers"
)

// ReaderSuite holds a Reader to the contract of drivers.Reader. newFixture makes a fresh reader with its device plugged in
// for each part and cleans up with t.
func ReaderSuite(t *testing.T, newFixture func(t *testing.T) Fixture) {
	parts := []struct {
		rule  string
		needs func(Fixture) bool
		run   func(t *testing.T, f Fixture)
	}{
		{"every end of a frame is known", always, testEnds},
		{"a frame may come byte by byte", always, testFragmented},
		{"frames may come glued together", glues, testGlued},
		{"an AIM identifier is stripped", func(f Fixture) bool { return f.AIM }, testAIM},
		{"the longest frame passes and of longer ones the beginning", always, testLongest},
		{"binary garbage is survived", func(f Fixture) bool { return f.Bytes }, testGarbage},
		{"a megabyte without an end is survived", func(f Fixture) bool { return f.Flood }, testFlood},
		{"a torn frame is dropped and the reader comes back", plugs, testTorn},
		{"unplugging is survived at every byte of a frame", plugs, testEveryByte},
		{"only what was shown while unplugged is missing", plugs, testReplugs},
		{"an absent device is unavailable", plugs, testAbsent},
		{"a device that returns is opened at once", plugs, testReturn},
		{"Run ends promptly with its context", always, testCancel},
	}
	for _, p := range parts {
		t.Run(p.rule, func(t *testing.T) {
			f := newFixture(t)
			if len(f.Ends) == 0 || f.Type == nil || f.Reader == nil {
				t.Fatal("the fixture lacks its reader, Type or Ends")
			}
			if !p.needs(f) {
				t.Skip("the device cannot do this")
			}
			p.run(t, f)
		})
	}
}

func always(Fixture) bool  { return true }
func glues(f Fixture) bool { return f.Ends[0] != "" }
func plugs(f Fixture) bool { return f.Unplug != nil && f.Replug != nil }

func testEnds(t *testing.T, f Fixture) {
	s := supervise(t, f)
	s.ready()
	for i, end := range f.Ends {
		for k := range 3 {
			frame := Code(10*i+k, 200)
			s.sendWith(frame, end)
			s.want(frame)
		}
	}
}

func testFragmented(t *testing.T, f Fixture) {
	s := supervise(t, f)
	s.ready()
	for i := range 10 {
		frame := Code(i, 120)
		for _, c := range f.wire(frame, f.Ends[0]) {
			f.Type([]byte{c})
			if i%2 == 0 {
				s.settle()
			}
		}
		s.end(f.Ends[0])
		s.want(frame)
	}
}

func testGlued(t *testing.T, f Fixture) {
	s := supervise(t, f)
	s.ready()
	for _, end := range f.Ends {
		if end == "" {
			continue
		}
		var all []byte
		var frames []string
		for i := range 20 {
			frames = append(frames, Code(i, 60+i))
			all = append(all, f.wire(frames[i], end)...)
		}
		f.Type(all)
		s.want(frames...)
	}
}

func testAIM(t *testing.T, f Fixture) {
	s := supervise(t, f)
	s.ready()
	for i := range 7 {
		frame := Code(i, 100)
		s.send(fmt.Sprintf("]Q%d%s", i, frame))
		s.want(frame)
	}
}

func testLongest(t *testing.T, f Fixture) {
	s := supervise(t, f)
	s.ready()
	s.send(Code(1, drivers.MaxFrame))
	s.want(Code(1, drivers.MaxFrame))
	s.send(Code(2, drivers.MaxFrame+1))
	s.want(Code(2, drivers.MaxFrame+1)[:drivers.MaxFrame])
	s.send(Code(3, 50))
	s.want(Code(3, 50))
	if err := f.Reader.Check(); err != nil {
		t.Errorf("Check says %v of a long code", err)
	}
}

func testGarbage(t *testing.T, f Fixture) {
	s := supervise(t, f)
	s.ready()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 50 {
		noise := make([]byte, 1+r.IntN(300))
		for k := range noise {
			noise[k] = byte(r.Uint32())
		}
		f.Type(noise)
		s.send("") // whatever the noise began is over
		s.send(Code(i, 80))
	}
	for i := range 50 {
		for string(s.next().Data) != Code(i, 80) {
		}
	}
}

func testFlood(t *testing.T, f Fixture) {
	s := supervise(t, f)
	s.ready()
	f.Type([]byte(strings.Repeat("x", 1<<20)))
	s.send("")
	s.want(strings.Repeat("x", drivers.MaxFrame))
	s.send(Code(1, 200))
	s.want(Code(1, 200))
}

func testTorn(t *testing.T, f Fixture) {
	s := supervise(t, f)
	s.ready()
	for i := range 3 {
		before := s.failures()
		f.Type(f.wire(Code(i, 200), f.Ends[0])[:100])
		s.settle()
		f.Unplug()
		s.lost(before, drivers.ErrLost)
		f.Replug()
		if got := s.ready(); len(got) != 0 {
			t.Fatalf("the torn frame was delivered: %q", got)
		}
		s.send(Code(i, 200))
		s.want(Code(i, 200))
	}
}

func testEveryByte(t *testing.T, f Fixture) {
	s := supervise(t, f)
	s.ready()
	frame := Code(7, 40)
	wire := f.wire(frame, f.Ends[0])
	whole := len(wire) // so many bytes may be a frame
	if f.Wire == nil {
		whole = min(len(wire), len(frame)+1)
	}
	for k := 1; k <= len(wire); k++ {
		before := s.failures()
		f.Type(wire[:k])
		s.settle()
		f.Unplug()
		s.lost(before, drivers.ErrLost)
		f.Replug()
		for _, got := range s.ready() {
			if k < whole || got != frame {
				t.Fatalf("unplugged after byte %d of %d: %q was delivered", k, len(wire), got)
			}
		}
	}
}

// testReplugs keeps showing codes while the device comes and goes. What was shown while it was surely in must come, once
// and in order; what was on its way when it was pulled may come, whole, or not.
func testReplugs(t *testing.T, f Fixture) {
	rounds := f.Replugs
	if rounds == 0 {
		rounds = 100
	}
	s := supervise(t, f)
	n := 0
	s.ready()
	for range rounds {
		for range 3 {
			s.send(Code(n, 150))
			s.want(Code(n, 150))
			n++
		}
		before := s.failures()
		pulled := Code(n, 150)
		n++
		f.Type(f.wire(pulled, f.Ends[0]))
		f.Unplug()
		s.lost(before, drivers.ErrLost)
		f.Type(f.wire(Code(n, 150), f.Ends[0]))
		n++
		f.Replug()
		for _, got := range s.ready() {
			if got != pulled {
				t.Fatalf("%q was delivered, which nobody showed while the device was in", got)
			}
		}
	}
}

func testAbsent(t *testing.T, f Fixture) {
	f.Unplug()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := f.Reader.Run(ctx, func(drivers.Read) { t.Error("an absent device delivered a frame") })
	if !errors.Is(err, drivers.ErrUnavailable) {
		t.Fatalf("Run returned %v, want an error wrapping ErrUnavailable", err)
	}
	if c, ok := f.Reader.(drivers.Checker); ok && !errors.Is(c.Check(), drivers.ErrUnavailable) {
		t.Errorf("Check says %v of an absent device", c.Check())
	}
	f.Replug()
	s := supervise(t, f)
	s.ready()
	if c, ok := f.Reader.(drivers.Checker); ok && c.Check() != nil {
		t.Errorf("Check says %v of a device that works", c.Check())
	}
}

// testReturn supervises a reader that is opened when its device is said to have returned, and at no other time.
func testReturn(t *testing.T, f Fixture) {
	device, ok := f.Reader.(drivers.Returner)
	if !ok {
		t.Fatal("the reader does not tell that its device returned")
	}
	ctx, cancel := context.WithCancel(context.Background())
	returned, err := device.Returned(ctx)
	if err != nil {
		t.Fatal(err)
	}
	f.Unplug()
	came, absent, ended := make(chan string, 1<<10), make(chan struct{}, 1<<10), make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			err := f.Reader.Run(ctx, func(r drivers.Read) { came <- string(r.Data) })
			if errors.Is(err, drivers.ErrUnavailable) {
				absent <- struct{}{}
			}
			select {
			case <-returned:
			case <-ctx.Done():
			}
		}
	}()
	defer func() { cancel(); <-ended }()
	s := &supervisor{t: t, f: f}
	<-absent
	for range 3 {
		f.Replug()
		for open, i := false, 0; !open; i++ {
			s.send(probe(i))
			select {
			case <-came:
				open = true
			case <-time.After(20 * time.Millisecond):
			}
		}
		f.Unplug()
		for lost := false; !lost; {
			select {
			case <-came:
			case <-time.After(10 * time.Millisecond):
				lost = f.Reader.Check() != nil
			}
		}
	}
}

func testCancel(t *testing.T, f Fixture) {
	for i := range 5 {
		ctx, cancel := context.WithCancel(context.Background())
		done, came := make(chan error, 1), make(chan struct{}, 1<<10)
		go func() {
			done <- f.Reader.Run(ctx, func(drivers.Read) { came <- struct{}{} })
		}()
		s := &supervisor{t: t, f: f}
		for open := false; !open; {
			s.send(probe(i))
			select {
			case <-came:
				open = true
			case err := <-done:
				t.Fatalf("Run returned %v", err)
			case <-time.After(100 * time.Millisecond):
			}
		}
		cancel()
		began := time.Now()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("Run returned %v, want context.Canceled", err)
			}
			t.Logf("returned after %s", time.Since(began).Round(time.Millisecond))
		case <-time.After(patience):
			t.Fatal("Run did not return")
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := f.Reader.Run(ctx, func(drivers.Read) { t.Error("a frame was delivered after the context had ended") })
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("Run of an ended context returned %v", err)
	}
}
