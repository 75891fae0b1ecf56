package device

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/framing"
)

func TestInputTellsWhatIsWrong(t *testing.T) {
	in := NewInput("front")
	want := func(when string, err error, words string) {
		t.Helper()
		if got := in.Check(); !errors.Is(got, err) || got != nil && !strings.Contains(got.Error(), words) {
			t.Errorf("%s: Check says %v, want %v with %q", when, got, err, words)
		}
	}
	frame := in.Frames(t.Context(), func(drivers.Read) {}, "check baud")
	n := 0
	show := func(f framing.Frame, times int) {
		for range times {
			n++
			f.Data = fmt.Append(nil, n)
			frame(f)
		}
	}
	flawed := framing.Frame{Flaw: "check the country"}
	garbled, whole := framing.Frame{Garbled: true}, framing.Frame{Whole: true}
	want("before it was opened", drivers.ErrUnavailable, "not opened yet")
	lost := errors.Join(errors.New("pulled out"), drivers.ErrLost)
	err := in.Run(t.Context(), func() error {
		in.Opened()
		want("open", nil, "")
		show(flawed, MaxFlawed-1)
		want("two flawed frames", nil, "")
		for range MaxGarbled {
			frame(framing.Frame{Flaw: "check the country", Data: fmt.Append(nil, n)})
		}
		want("the same one, held before it", nil, "")
		show(framing.Frame{}, MaxGarbled)
		want("what is foreign says nothing", nil, "")
		show(flawed, 1)
		want("three of them", drivers.ErrGarbled, "check the country")
		show(whole, 1)
		want("a whole one after them", nil, "")
		show(garbled, MaxGarbled-1)
		want("four garbled frames after it", nil, "")
		show(garbled, 1)
		want("five of them", drivers.ErrGarbled, "check baud")
		show(framing.Frame{Garbled: true, Flaw: "parity"}, 1)
		want("what is known better counts", drivers.ErrGarbled, "parity")
		show(whole, 1)
		show(garbled, 1)
		want("one after a whole one", nil, "")
		return lost
	})
	if !errors.Is(err, drivers.ErrLost) {
		t.Errorf("Run returned %v", err)
	}
	want("lost", drivers.ErrLost, "pulled out")

	ctx, cancel := context.WithCancel(t.Context())
	err = in.Run(ctx, func() error {
		in.Opened()
		show(garbled, MaxGarbled-1)
		want("damage before the loss does not count", nil, "")
		cancel()
		return lost // an end that was asked for is no loss, whatever closing the device gave
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Run returned %v of an ended context", err)
	}
	want("ended", drivers.ErrUnavailable, "halted")
	err = in.Run(ctx, func() error { t.Error("a device was opened after the context had ended"); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Run returned %v of a context that had ended before", err)
	}
}

func TestInputDeliversFrames(t *testing.T) {
	in := NewInput("front")
	ctx, cancel := context.WithCancel(t.Context())
	var reads []drivers.Read
	frame := in.Frames(ctx, func(r drivers.Read) { reads = append(reads, r) }, "check baud")
	at := time.Unix(1000, 0)
	frame(framing.Frame{At: at, Data: []byte("KIP1:A")})
	frame(framing.Frame{At: at, Garbled: true})
	var all sync.WaitGroup
	for range 50 { // the race detector tells if two are delivered at a time
		all.Go(func() { frame(framing.Frame{At: at, Data: []byte("KIP1:B")}) })
	}
	all.Wait()
	cancel()
	frame(framing.Frame{At: at, Data: []byte("KIP1:C")})
	if len(reads) != 51 {
		t.Fatalf("%d reads, want 51", len(reads))
	}
	if r := reads[0]; string(r.Data) != "KIP1:A" || r.Reader != "front" || !r.At.Equal(at) {
		t.Errorf("got %+v", r)
	}
}

func TestWhenDone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	called := false // not guarded: release makes it safe to read
	release := WhenDone(ctx, func() { called = true })
	cancel()
	release()
	if !called {
		t.Error("not called when the context ended")
	}
	ctx, cancel = context.WithCancel(t.Context())
	called = false
	WhenDone(ctx, func() { called = true })()
	cancel()
	if called {
		t.Error("called after its release")
	}
}
