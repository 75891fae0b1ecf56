package bench

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	starts     = 9
	settleSpan = 3 * time.Second
	idleSpan   = 15 * time.Second
	idleTurn   = 100 * time.Millisecond
	checksTurn = 5
	idleChecks = 80 // that an idle gate may cost in a second
)

// measureIdle is what a gate costs while nobody comes: enrolled, its screen open in a browser, its voice ready; and how
// soon it can serve the first visitor.
func measureIdle(ctx context.Context, s *site) (figures []Figure, err error) {
	k, err := newKiosk(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, k.close()) }()
	least, err := newBareGate(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, least.close()) }()
	took, err := measureStarts(ctx, k, least)
	if err != nil {
		return nil, err
	}
	looking, stop := context.WithCancel(ctx)
	defer stop()
	if err := k.look(looking); err != nil {
		return nil, err
	}
	s.say("idle for %v", settleSpan+idleSpan)
	if err := wait(ctx, settleSpan); err != nil {
		return nil, err
	}
	used, check, err := idleUse(ctx, k)
	if err != nil {
		return nil, err
	}
	rss, err := k.gate.RSS()
	if err != nil {
		return nil, err
	}
	program, err := os.Stat(filepath.Join(s.programs.Bin, "kipass-gate"))
	if err != nil {
		return nil, err
	}
	const of = "a program of the same language that opens a terminal and the sound device, and does nothing else"
	return []Figure{
		comparedTimes("start_to_ready", "ms", 1e3, took[0], took[1], of,
			atMost(3, "journal, trust list, identity and clips are read and checked, and the screen opened")),
		size("idle_rss", "MiB", float64(rss)/(1<<20), atMost(40, "boards with 512 MiB of memory run a browser beside it")),
		compared("idle_cpu", "µs/s", used*1e6, check*idleChecks*1e6, fmt.Sprintf("%d Ed25519 checks, in processor time", idleChecks),
			atMost(1, "that is half a hundredth of a core where a check takes 60 µs: what runs day and night is to warm nothing")),
		size("gate_program", "MB", float64(program.Size())/1e6, atMost(25, "updates go over a mobile network")),
	}, nil
}

// measureStarts starts gate and bare gate in turns; both run in the end.
func measureStarts(ctx context.Context, k *kiosk, least *bareGate) ([]laps, error) {
	if err := errors.Join(k.stop(), least.stop()); err != nil {
		return nil, err
	}
	again := func(start func(context.Context) (time.Duration, error), stop func() error) func() (time.Duration, error) {
		return func() (time.Duration, error) {
			if err := stop(); err != nil {
				return 0, err
			}
			return start(ctx)
		}
	}
	return interleave(ctx, 0, starts, again(k.start, k.stop), again(least.start, least.stop))
}

// idleUse returns the processor time that an idle gate uses in a second, and that of one Ed25519 check in the same span,
// both in seconds.
func idleUse(ctx context.Context, k *kiosk) (used, check float64, err error) {
	public := k.scheme.issuer.Public().(ed25519.PublicKey)
	message := []byte("one check a turn, so that both are measured under the same load")
	signature := ed25519.Sign(k.scheme.issuer, message)
	before, err := k.gate.CPU()
	if err != nil {
		return 0, 0, err
	}
	var checks laps
	began := time.Now()
	for time.Since(began) < idleSpan {
		if err := wait(ctx, idleTurn); err != nil {
			return 0, 0, err
		}
		for range checksTurn {
			once := time.Now()
			if !ed25519.Verify(public, message, signature) {
				return 0, 0, errors.New("bare Ed25519 refuses its own signature")
			}
			checks = append(checks, time.Since(once))
		}
	}
	after, err := k.gate.CPU()
	return (after - before).Seconds() / time.Since(began).Seconds(), checks.median(), err
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
