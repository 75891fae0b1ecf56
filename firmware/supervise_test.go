package firmware

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/internal/testkit"
)

// pluggedReader is a reader that knows when its device was plugged in.
type pluggedReader struct {
	plugged  chan struct{} // closed when the device is there
	returned chan struct{}
	opened   chan time.Time
}

func (r pluggedReader) Run(ctx context.Context, _ func(drivers.Read)) error {
	select {
	case <-r.plugged:
		r.opened <- time.Now()
		<-ctx.Done()
		return ctx.Err()
	default:
		return drivers.ErrUnavailable
	}
}

func (r pluggedReader) Returned(context.Context) (<-chan struct{}, error) { return r.returned, nil }

func (pluggedReader) Check() error   { return nil }
func (pluggedReader) String() string { return "plugged" }

// TestAReaderThatReturnsIsOpenedAtOnce plugs a device in just after an attempt to open it, which is followed by the longest
// pause.
func TestAReaderThatReturnsIsOpenedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := pluggedReader{make(chan struct{}), make(chan struct{}, 1), make(chan time.Time, 1)}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			supervise(ctx, r, func(drivers.Read) {}, health.NewBoard(time.Now, slog.New(slog.DiscardHandler)))
		}()
		time.Sleep(time.Minute + time.Millisecond)
		synctest.Wait()
		close(r.plugged)
		plugged := time.Now()
		r.returned <- struct{}{}
		if waited := (<-r.opened).Sub(plugged); waited != 0 {
			t.Errorf("opened %v after it was plugged in", waited)
		}
		cancel()
		<-done
	})
}

// A reader has one fault at a time, which tells the technician where to look.
func TestWhatAReaderSaysOfItselfIsOneFault(t *testing.T) {
	clock := testkit.NewClock(time.Now())
	board := health.NewBoard(clock.Now, slog.New(slog.DiscardHandler))
	reader := &drivertest.Reader{Name: "front"}
	for _, c := range []struct {
		err  error
		want health.Code
	}{
		{drivers.ErrLost, health.ReaderLost},
		{drivers.ErrTurnedAway, health.ReaderIntruded},
		{drivers.ErrUnavailable, health.ReaderLost},
		{drivers.ErrGarbled, health.ReaderGarbled},
		{errors.New("set to sleep"), health.ReaderGarbled},
		{drivers.ErrTurnedAway, health.ReaderIntruded},
		{nil, ""},
	} {
		var err error
		if c.err != nil {
			err = fmt.Errorf("%w: in words", c.err)
		}
		reportReader(reader, err, board)
		clock.Add(time.Minute) // longer than any grace
		var got health.Code
		for _, f := range board.Shown() {
			got += f.Code
		}
		if got != c.want {
			t.Errorf("%v is the fault %q, want %q", err, got, c.want)
		}
	}
}
