package device

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/drivers"
)

var errStuck = errors.New("relay line is stuck")

// obedient answers every request with do's answer and returns leftover when it is halted.
func obedient(do func(string) error, leftover error) *Worker[string] {
	return Work("the lamp", ShowLimit, func(ctx context.Context, requests <-chan Request[string]) error {
		for {
			select {
			case <-ctx.Done():
				return leftover
			case r := <-requests:
				r.Answer(do(r.What))
			}
		}
	})
}

func TestWorkerAnswersUntilItIsHalted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var done []string
		w := obedient(func(what string) error {
			done = append(done, what)
			if what == "red" {
				return drivers.ErrLost
			}
			return nil
		}, errStuck)
		if err := w.Do(t.Context(), "green"); err != nil {
			t.Errorf("Do returned %v", err)
		}
		if err := w.Do(t.Context(), "red"); !errors.Is(err, drivers.ErrLost) {
			t.Errorf("Do returned %v, want the worker's answer", err)
		}
		for range 2 {
			if err := w.Halt(time.Second); !errors.Is(err, errStuck) {
				t.Errorf("Halt returned %v, want what was left over", err)
			}
		}
		if err := w.Do(t.Context(), "green"); !errors.Is(err, ErrHalted) || !errors.Is(err, drivers.ErrUnavailable) {
			t.Errorf("Do returned %v after the halt", err)
		}
		if strings.Join(done, " ") != "green red" {
			t.Errorf("done %q", done)
		}
	})
}

func TestWorkerThatHangsHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		w := obedient(func(string) error { <-free; return nil }, nil)
		for _, when := range []string{"while it works on this request", "while it works on an earlier one"} {
			began := time.Now()
			err := w.Do(t.Context(), "green")
			if !errors.Is(err, drivers.ErrUnavailable) || !strings.Contains(err.Error(), "the lamp") || time.Since(began) != ShowLimit {
				t.Errorf("%s: Do returned %v after %v, want %v", when, err, time.Since(began), ShowLimit)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := w.Do(ctx, "green"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Do returned %v, want the end of its context", err)
		}
		began := time.Now()
		if err := w.Halt(time.Second); !errors.Is(err, drivers.ErrUnavailable) || time.Since(began) != time.Second {
			t.Errorf("Halt returned %v after %v", err, time.Since(began))
		}
		close(free)
		if err := w.Halt(time.Second); err != nil {
			t.Errorf("Halt returned %v once the worker goes on", err)
		}
	})
}
