package drivertest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/drivers"
)

func TestFakeReaderPlaysItsScript(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &Reader{Name: "front", Script: []Step{
			{Data: []byte("A")}, {Wait: time.Minute, Data: []byte("B"), Err: drivers.ErrLost}, {Data: []byte("C")},
		}}
		began := time.Now()
		var got []drivers.Read
		emit := func(f drivers.Read) { got = append(got, f) }
		if err := r.Run(t.Context(), emit); !errors.Is(err, drivers.ErrLost) {
			t.Fatalf("Run returned %v", err)
		}
		if len(got) != 2 || string(got[1].Data) != "B" || got[1].At.Sub(began) != time.Minute || r.Left() != 1 {
			t.Fatalf("got %v and %d steps left", got, r.Left())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := r.Run(ctx, emit); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Run returned %v", err)
		}
		if len(got) != 3 || string(got[2].Data) != "C" || got[2].Reader != "front" || r.Left() != 0 {
			t.Fatalf("got %v and %d steps left", got, r.Left())
		}
	})
}

func TestFakeIndicatorKeepsCues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &Indicator{Name: "lamp"}
		go func() {
			time.Sleep(time.Second)
			if err := i.Show(t.Context(), drivers.Cue{Light: drivers.Green}); err != nil {
				t.Error(err)
			}
		}()
		cues, err := i.Await(t.Context(), 1)
		if err != nil || len(cues) != 1 || cues[0].Light != drivers.Green {
			t.Fatalf("got %v, %v", cues, err)
		}
		i.Fail(drivers.ErrLost)
		if err := i.Show(t.Context(), drivers.Cue{}); !errors.Is(err, drivers.ErrLost) || !errors.Is(i.Check(), drivers.ErrLost) {
			t.Errorf("a failing device returned %v", err)
		}
		i.Fail(nil)
		i.Hang(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := i.Show(ctx, drivers.Cue{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a hanging device returned %v", err)
		}
		if _, err := i.Await(ctx, 2); err == nil {
			t.Error("a cue that hung was kept")
		}
		if err := i.Halt(); err != nil || !i.Halted() {
			t.Errorf("Halt returned %v", err)
		}
		if i.Halt() == nil || i.Show(t.Context(), drivers.Cue{}) == nil {
			t.Error("a halted device goes on")
		}
	})
}
