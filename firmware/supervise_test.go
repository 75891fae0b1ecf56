package firmware

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/firmware/health"
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
