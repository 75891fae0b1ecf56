package device

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/framing"
)

func TestInputTellsWhatIsWrong(t *testing.T) {
	in := NewInput("front", 2)
	want := func(when string, err error, words string) {
		t.Helper()
		if got := in.Check(); !errors.Is(got, err) || got != nil && !strings.Contains(got.Error(), words) {
			t.Errorf("%s: Check says %v, want %v with %q", when, got, err, words)
		}
	}
	want("before it was opened", drivers.ErrUnavailable, "not opened yet")
	lost := errors.Join(errors.New("pulled out"), drivers.ErrLost)
	err := in.Run(t.Context(), func() error {
		in.Opened()
		want("open", nil, "")
		in.Damaged("check baud")
		want("one damaged frame", nil, "")
		in.Damaged("check the country")
		want("two of them", drivers.ErrGarbled, "check the country")
		in.Good()
		want("a good frame after them", nil, "")
		in.Damaged("check baud")
		want("one damaged frame after a good one", nil, "")
		return lost
	})
	if !errors.Is(err, drivers.ErrLost) {
		t.Errorf("Run returned %v", err)
	}
	want("lost", drivers.ErrLost, "pulled out")

	ctx, cancel := context.WithCancel(t.Context())
	err = in.Run(ctx, func() error {
		in.Opened()
		in.Damaged("check baud")
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
	in := NewInput("front", 2)
	ctx, cancel := context.WithCancel(t.Context())
	var reads []drivers.Read
	noted := 0
	frame := in.Frames(ctx, func(r drivers.Read) { reads = append(reads, r) }, func(framing.Frame) { noted++ })
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
	if len(reads) != 51 || noted != 53 {
		t.Fatalf("%d reads, %d noted; want 51 and 53", len(reads), noted)
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
