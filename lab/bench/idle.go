package bench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"
)

const (
	starts     = 9
	settleSpan = 3 * time.Second
	idleSpan   = 15 * time.Second
)

// measureIdle is what a gate costs while nobody comes: enrolled, its screen open in a browser, its voice ready; and how
// soon it can serve the first visitor.
func measureIdle(ctx context.Context, s *site) (figures []Figure, err error) {
	k, err := newKiosk(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, k.close()) }()
	var took laps
	for range starts {
		if err := k.stop(); err != nil {
			return nil, err
		}
		span, err := k.start(ctx)
		if err != nil {
			return nil, err
		}
		took = append(took, span)
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
	before, err := k.gate.CPU()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := wait(ctx, idleSpan); err != nil {
		return nil, err
	}
	after, err := k.gate.CPU()
	if err != nil {
		return nil, err
	}
	share := (after - before).Seconds() / time.Since(began).Seconds()
	rss, err := k.gate.RSS()
	if err != nil {
		return nil, err
	}
	program, err := os.Stat(filepath.Join(s.programs.Bin, "kipass-gate"))
	if err != nil {
		return nil, err
	}
	return []Figure{
		absolute("start_to_ready", "ms", took.median()*1e3, atMost(ours, 300)),
		absolute("idle_rss", "MiB", float64(rss)/(1<<20), atMost(ours, 40)),
		absolute("idle_cpu", "% of a core", share*100, atMost(ours, 0.5)),
		absolute("gate_program", "MB", float64(program.Size())/1e6, atMost(ours, 25)),
	}, nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
