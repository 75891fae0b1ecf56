package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/drivers/serialscan"
	"github.com/kipass/kipass/firmware"
	"github.com/kipass/kipass/firmware/clock"
	"github.com/kipass/kipass/firmware/health"
)

// cueWithin is when a scan is given up.
const cueWithin = 10 * time.Second

// lamp is an indicator that says when it was handed a cue.
type lamp struct{ cues chan moment }

type moment struct {
	at  time.Time
	cue drivers.Cue
}

func (l lamp) Show(_ context.Context, c drivers.Cue) error {
	l.cues <- moment{time.Now(), c}
	return nil
}

func (l lamp) Halt() error    { return nil }
func (l lamp) String() string { return "lamp" }

// counter is a gate in this process with a reader on a pseudo terminal.
type counter struct {
	scheme scheme
	line   *drivertest.Pty
	lamp   lamp
	disk   *disk
}

// measureGate takes a code from the last byte on the line, through reader, verification and journal, to the cue, beside
// the parts that this needs at least.
func measureGate(ctx context.Context, s *site) (figures []Figure, err error) {
	c := &counter{lamp: lamp{make(chan moment, 1)}}
	if c.scheme, err = newScheme(); err != nil {
		return nil, err
	}
	if c.disk, err = newDisk(ctx, s); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.disk.close()) }()
	if c.line, err = drivertest.OpenPty(s.path("reader")); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.line.Close()) }()
	stop, err := c.start(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	least, err := newBareCounter(s.path("bare-reader"), c.scheme, c.disk)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, least.close()) }()
	took, err := interleave(ctx, 6*time.Second, 600,
		func() (time.Duration, error) { return c.scan(ctx) },
		least.scan)
	if err != nil {
		return nil, err
	}
	const of = "reading the code from a bare terminal, one Ed25519 check and one bbolt commit, one after the other"
	return []Figure{
		comparedTimes("last_byte_to_cue_median", "ms", 1e3, took[0], took[1], of,
			atMost(1.3, "it takes three changes of goroutine: reader, gate, indicator")),
		compared("last_byte_to_cue_p99", "ms", took[0].at(0.99)*1e3, took[1].at(0.99)*1e3, of,
			atMost(2, "one scan in a hundred may meet the disk or the processor at work for others")),
	}, nil
}

// start runs the gate until stop is called, and returns when its reader is open.
func (c *counter) start(ctx context.Context) (stop func() error, err error) {
	trust, err := c.scheme.trust()
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	reader, err := serialscan.New(serialscan.Options{Name: "front", Device: c.line.Path(), Logger: log})
	if err != nil {
		return nil, err
	}
	gate := firmware.New(firmware.Options{
		Readers: []drivers.Reader{reader}, Indicators: []firmware.Lane{{Indicator: c.lamp}}, Trust: trust,
		Clock: clock.New(clock.Options{Kernel: func() (clock.KernelTime, error) {
			return clock.KernelTime{MaxError: time.Millisecond}, nil
		}}),
		Languages: []string{"ko", "en"}, Board: health.NewBoard(time.Now, log), Logger: log,
	})
	gate.Use(c.disk.journal)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- gate.Run(ctx) }()
	stop = func() error {
		cancel()
		return <-done
	}
	for began := time.Now(); reader.Check() != nil; time.Sleep(time.Millisecond) {
		if time.Since(began) > cueWithin {
			return nil, errors.Join(fmt.Errorf("the reader does not open: %w", reader.Check()), stop())
		}
	}
	return stop, nil
}

// scan shows the gate a new code and returns the time from its last byte to the cue.
func (c *counter) scan(ctx context.Context) (time.Duration, error) {
	text, err := c.scheme.code()
	if err != nil {
		return 0, err
	}
	frame := []byte(text + "\r")
	began := time.Now()
	if _, err := c.line.Write(frame); err != nil {
		return 0, err
	}
	select {
	case m := <-c.lamp.cues:
		if m.cue.Light != drivers.Green {
			return 0, fmt.Errorf("the gate shows %v for a good code", m.cue.Light)
		}
		return m.at.Sub(began), nil
	case <-time.After(cueWithin):
		return 0, fmt.Errorf("the gate shows nothing within %v", cueWithin)
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
