// Package startup keeps a program that opens or closes its data from hanging in it: a call that does not end – a database
// that waits for a full disk, a disk that does not answer – is left behind when the program is asked to end, or has waited
// enough.
package startup

import (
	"context"
	"fmt"
	"time"
)

const (
	// Limit is how long a program's data may take to open.
	Limit = 5 * time.Minute
	// CloseLimit is how long it may take to close. What was acknowledged is durable before.
	CloseLimit = 15 * time.Second
)

// Within returns what open returns. It waits until ctx ends, and at most for limit; open is then left running, and what it
// opens in the end is closed. The program is expected to end soon after.
func Within[T any](ctx context.Context, limit time.Duration, what string, open func() (T, error), close func(T) error) (T, error) {
	type result struct {
		value T
		err   error
	}
	opened := make(chan result, 1)
	go func() {
		v, err := open()
		opened <- result{v, err}
	}()
	var none T
	var err error
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case r := <-opened:
		return r.value, r.err
	case <-ctx.Done():
		err = fmt.Errorf("opening %s: %w", what, context.Cause(ctx))
	case <-timer.C:
		err = fmt.Errorf("opening %s: not done after %v: is its disk in order?", what, limit)
	}
	go func() {
		if r := <-opened; r.err == nil {
			_ = close(r.value)
		}
	}()
	return none, err
}

// Close returns what close returns, or an error after CloseLimit; close is then left running, and the program is expected
// to end.
func Close(what string, close func() error) error {
	done := make(chan error, 1)
	go func() { done <- close() }()
	timer := time.NewTimer(CloseLimit)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return fmt.Errorf("closing %s: not done after %v: is its disk in order?", what, CloseLimit)
	}
}
