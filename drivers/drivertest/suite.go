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

// ReaderSuite holds a Reader to the contract of drivers.Reader. newBench makes a fresh reader with its device plugged in
// for each part and cleans up with t.
func ReaderSuite(t *testing.T, newBench func(t *testing.T) Bench) {
	parts := []struct {
		rule  string
		needs func(Bench) bool
		run   func(t *testing.T, b Bench)
	}{
		{"every end of a frame is known", always, testEnds},
		{"a frame may come byte by byte", always, testFragmented},
		{"frames may come glued together", glues, testGlued},
		{"an AIM identifier is stripped", func(b Bench) bool { return b.AIM }, testAIM},
		{"the longest frame passes and one byte more does not", always, testLongest},
		{"binary garbage is survived", func(b Bench) bool { return b.Bytes }, testGarbage},
		{"a megabyte without an end is survived", func(b Bench) bool { return b.Flood }, testFlood},
		{"a torn frame is dropped and the reader comes back", plugs, testTorn},
		{"unplugging is survived at every byte of a frame", plugs, testEveryByte},
		{"only what was shown while unplugged is missing", plugs, testReplugs},
		{"an absent device is unavailable", plugs, testAbsent},
		{"Run ends promptly with its context", always, testCancel},
	}
	for _, p := range parts {
		t.Run(p.rule, func(t *testing.T) {
			b := newBench(t)
			if len(b.Ends) == 0 || b.Type == nil || b.Reader == nil {
				t.Fatal("the bench lacks its reader, Type or Ends")
			}
			if !p.needs(b) {
				t.Skip("the device cannot do this")
			}
			p.run(t, b)
		})
	}
}

func always(Bench) bool  { return true }
func glues(b Bench) bool { return b.Ends[0] != "" }
func plugs(b Bench) bool { return b.Unplug != nil && b.Replug != nil }

// code returns a frame of n bytes as entry codes look, different for every i.
func code(i, n int) string {
	const base45 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ$%*+-./:"
	r := rand.New(rand.NewPCG(uint64(i), uint64(n)))
	b := []byte(fmt.Sprintf("KIP1:%06d", i))
	for len(b) < n {
		b = append(b, base45[r.IntN(len(base45))])
	}
	return string(b[:n])
}

func testEnds(t *testing.T, b Bench) {
	s := sit(t, b)
	s.ready()
	for i, end := range b.Ends {
		for k := range 3 {
			frame := code(10*i+k, 200)
			b.Type(b.wire(frame, end))
			if end == "" {
				b.Hush()
			}
			s.want(frame)
		}
	}
}

func testFragmented(t *testing.T, b Bench) {
	s := sit(t, b)
	s.ready()
	for i := range 10 {
		frame := code(i, 120)
		for _, c := range b.wire(frame, b.Ends[0]) {
			b.Type([]byte{c})
			if i%2 == 0 {
				s.settle()
			}
		}
		if b.Ends[0] == "" {
			b.Hush()
		}
		s.want(frame)
	}
}

func testGlued(t *testing.T, b Bench) {
	s := sit(t, b)
	s.ready()
	for _, end := range b.Ends {
		if end == "" {
			continue
		}
		var all []byte
		var frames []string
		for i := range 20 {
			frames = append(frames, code(i, 60+i))
			all = append(all, b.wire(frames[i], end)...)
		}
		b.Type(all)
		s.want(frames...)
	}
}

func testAIM(t *testing.T, b Bench) {
	s := sit(t, b)
	s.ready()
	for i := range 7 {
		frame := code(i, 100)
		s.send(fmt.Sprintf("]Q%d%s", i, frame))
		s.want(frame)
	}
}

func testLongest(t *testing.T, b Bench) {
	s := sit(t, b)
	s.ready()
	s.send(code(1, drivers.MaxFrame))
	s.want(code(1, drivers.MaxFrame))
	s.send(code(2, drivers.MaxFrame+1))
	s.send(code(3, 50))
	s.want(code(3, 50))
	s.send(code(4, 3*drivers.MaxFrame))
	s.send(code(5, 50))
	s.want(code(5, 50))
}

func testGarbage(t *testing.T, b Bench) {
	s := sit(t, b)
	s.ready()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 50 {
		noise := make([]byte, 1+r.IntN(300))
		for k := range noise {
			noise[k] = byte(r.Uint32())
		}
		b.Type(noise)
		s.send("") // whatever the noise began is over
		s.send(code(i, 80))
	}
	for i := range 50 {
		for string(s.next().Data) != code(i, 80) {
		}
	}
}

func testFlood(t *testing.T, b Bench) {
	s := sit(t, b)
	s.ready()
	b.Type([]byte(strings.Repeat("x", 1<<20)))
	s.send("")
	s.send(code(1, 200))
	s.want(code(1, 200))
}

func testTorn(t *testing.T, b Bench) {
	s := sit(t, b)
	s.ready()
	for i := range 3 {
		before := s.failures()
		b.Type(b.wire(code(i, 200), b.Ends[0])[:100])
		s.settle()
		b.Unplug()
		s.lost(before, drivers.ErrLost)
		b.Replug()
		if got := s.ready(); len(got) != 0 {
			t.Fatalf("the torn frame was delivered: %q", got)
		}
		s.send(code(i, 200))
		s.want(code(i, 200))
	}
}

func testEveryByte(t *testing.T, b Bench) {
	s := sit(t, b)
	s.ready()
	frame := code(7, 40)
	wire := b.wire(frame, b.Ends[0])
	whole := len(wire) // so many bytes may be a frame
	if b.Wire == nil {
		whole = min(len(wire), len(frame)+1)
	}
	for k := 1; k <= len(wire); k++ {
		before := s.failures()
		b.Type(wire[:k])
		s.settle()
		b.Unplug()
		s.lost(before, drivers.ErrLost)
		b.Replug()
		for _, got := range s.ready() {
			if k < whole || got != frame {
				t.Fatalf("unplugged after byte %d of %d: %q was delivered", k, len(wire), got)
			}
		}
	}
}

// testReplugs keeps showing codes while the device comes and goes. What was shown while it was surely in must come, once
// and in order; what was on its way when it was pulled may come, whole, or not.
func testReplugs(t *testing.T, b Bench) {
	rounds := b.Replugs
	if rounds == 0 {
		rounds = 100
	}
	s := sit(t, b)
	n := 0
	s.ready()
	for range rounds {
		for range 3 {
			s.send(code(n, 150))
			s.want(code(n, 150))
			n++
		}
		before := s.failures()
		pulled := code(n, 150)
		n++
		b.Type(b.wire(pulled, b.Ends[0]))
		b.Unplug()
		s.lost(before, drivers.ErrLost)
		b.Type(b.wire(code(n, 150), b.Ends[0]))
		n++
		b.Replug()
		for _, got := range s.ready() {
			if got != pulled {
				t.Fatalf("%q was delivered, which nobody showed while the device was in", got)
			}
		}
	}
}

func testAbsent(t *testing.T, b Bench) {
	b.Unplug()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := b.Reader.Run(ctx, func(drivers.Read) { t.Error("an absent device delivered a frame") })
	if !errors.Is(err, drivers.ErrUnavailable) {
		t.Fatalf("Run returned %v, want an error wrapping ErrUnavailable", err)
	}
	if c, ok := b.Reader.(drivers.Checker); ok && !errors.Is(c.Check(), drivers.ErrUnavailable) {
		t.Errorf("Check says %v of an absent device", c.Check())
	}
	b.Replug()
	s := sit(t, b)
	s.ready()
	if c, ok := b.Reader.(drivers.Checker); ok && c.Check() != nil {
		t.Errorf("Check says %v of a device that works", c.Check())
	}
}

func testCancel(t *testing.T, b Bench) {
	for i := range 5 {
		ctx, cancel := context.WithCancel(context.Background())
		done, came := make(chan error, 1), make(chan struct{}, 1<<10)
		go func() {
			done <- b.Reader.Run(ctx, func(drivers.Read) { came <- struct{}{} })
		}()
		s := &seat{t: t, b: b}
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
	err := b.Reader.Run(ctx, func(drivers.Read) { t.Error("a frame was delivered after the context had ended") })
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("Run of an ended context returned %v", err)
	}
}
