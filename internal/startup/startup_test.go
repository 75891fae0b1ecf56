package startup

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestWithin(t *testing.T) {
	fault := errors.New("no store here")
	for _, c := range []struct {
		rule   string
		takes  time.Duration
		fails  error
		stopAt time.Duration // 0: never
		after  time.Duration // when Within returns
		err    string
		closed bool // by Within
	}{
		{"opened", time.Second, nil, 0, time.Second, "", false},
		{"failed", time.Second, fault, 0, time.Second, "no store here", false},
		{"asked to end meanwhile", time.Hour, nil, 3 * time.Second, 3 * time.Second, "context canceled", true},
		{"asked to end, and it fails later", time.Hour, fault, 3 * time.Second, 3 * time.Second, "context canceled", false},
		{"too long", time.Hour, nil, 0, time.Minute, "opening the store: not done after 1m0s", true},
	} {
		t.Run(c.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.stopAt > 0 {
					time.AfterFunc(c.stopAt, cancel)
				}
				begun, closed := time.Now(), false
				v, err := Within(ctx, time.Minute, "the store", func() (int, error) {
					time.Sleep(c.takes)
					return 7, c.fails
				}, func(int) error { closed = true; return nil })
				if after := time.Since(begun); after != c.after {
					t.Errorf("returned after %v, want %v", after, c.after)
				}
				if c.err == "" && (err != nil || v != 7) || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
					t.Errorf("%d, %v; want %q", v, err, c.err)
				}
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				if closed != c.closed {
					t.Errorf("closed %v, want %v", closed, c.closed)
				}
			})
		})
	}
}

func TestClose(t *testing.T) {
	fault := errors.New("torn")
	for _, c := range []struct {
		takes time.Duration
		fails error
		after time.Duration
		err   string
	}{
		{time.Second, nil, time.Second, ""},
		{time.Second, fault, time.Second, "torn"},
		{time.Hour, nil, CloseLimit, "closing the store: not done after 15s"},
	} {
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			err := Close("the store", func() error { time.Sleep(c.takes); return c.fails })
			if after := time.Since(begun); after != c.after || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("after %v: %v; want %q after %v", after, err, c.err, c.after)
			}
			time.Sleep(2 * time.Hour)
		})
	}
}
