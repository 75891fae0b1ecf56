package clock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// StepNotifier calls stepped whenever the wall clock was set, from one goroutine, until ctx ends; it then returns nil.
type StepNotifier func(ctx context.Context, stepped func()) error

// lookEvery is the default of Options.LookEvery: the end of the kernel's synchronisation is to be noticed in time.
const lookEvery = 16 * time.Second

// Run keeps the clock's knowledge current until ctx ends, when it returns ctx's error. Without it the clock works as well,
// but learns of steps and of a lost synchronisation only when it is read. It returns earlier if steps cannot be watched.
func (c *Clock) Run(ctx context.Context) error {
	inner, stop := context.WithCancel(ctx)
	defer stop()
	steps := make(chan error, 1)
	go func() { steps <- c.opts.Steps(inner, func() { c.Read() }) }()
	tick := time.NewTicker(c.opts.LookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			stop()
			<-steps
			return ctx.Err()
		case err := <-steps:
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("watching for clock steps: %w", err)
			}
			<-ctx.Done()
			return ctx.Err()
		case <-tick.C:
			c.Read()
		}
	}
}

// notifySteps waits on a timer that the kernel cancels when the wall clock is set (timerfd_create(2),
// TFD_TIMER_CANCEL_ON_SET).
func notifySteps(ctx context.Context, stepped func()) error {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("creating a timer: %w", err)
	}
	timer := os.NewFile(uintptr(fd), "timerfd")
	ended := context.AfterFunc(ctx, func() { _ = timer.SetReadDeadline(time.Unix(1, 0)) })
	defer func() {
		ended()
		_ = timer.Close()
	}()
	for ctx.Err() == nil {
		next := unix.ItimerSpec{Value: unix.NsecToTimespec(time.Now().Add(24 * time.Hour).UnixNano())}
		if err := unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &next, nil); err != nil {
			return fmt.Errorf("setting a timer: %w", err)
		}
		var count [8]byte
		_, err := timer.Read(count[:])
		switch {
		case errors.Is(err, unix.ECANCELED):
			stepped()
		case err != nil && ctx.Err() == nil:
			return fmt.Errorf("waiting on a timer: %w", err)
		}
	}
	return nil
}
