package chain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

func (s *stage) startGate(ctx context.Context) error {
	env := s.controls.env("gate")
	if s.voice != nil {
		env = append(env, s.voice.env()...)
	}
	opened, err := s.readersOpened()
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.begun++
	s.mu.Unlock()
	prog, _, err := s.programs.Start(ctx, "ready", env, "kipass-gate", "run", "--config", s.path("gate.toml"))
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.gate = prog
	s.mu.Unlock()
	if err := s.awaitReader(ctx, opened); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = s.begun
	return nil
}

// awaitReader waits until the gate has opened its reader once more than before: what the line holds then is thrown
// away.
func (s *stage) awaitReader(ctx context.Context, before int) error {
	for began := time.Now(); time.Since(began) < readyWithin; {
		if n, err := s.readersOpened(); err != nil || n > before {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("the gate did not open its reader within %v", readyWithin)
}

// readersOpened returns how often the gates so far have logged that they had opened their reader.
func (s *stage) readersOpened() (int, error) {
	log, err := os.ReadFile(filepath.Join(s.programs.Logs, "kipass-gate.log"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return bytes.Count(log, []byte(`msg="reader opened"`)), err
}

// restartGate ends the gate as a power cut would, and starts it anew.
func (s *stage) restartGate(ctx context.Context) error {
	s.starting.Lock()
	defer s.starting.Unlock()
	s.killGate()
	return s.startGate(ctx)
}

// steady does something while the gate is up: it is neither killed nor started meanwhile.
func (s *stage) steady(do func() error) error {
	s.starting.Lock()
	defer s.starting.Unlock()
	return do()
}

// killGate ends the gate as a power cut would.
func (s *stage) killGate() {
	s.mu.Lock()
	gate := s.gate
	s.mu.Unlock()
	gate.Kill()
}

// begunGates returns how often the gate was begun to be started.
func (s *stage) begunGates() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun
}

// generation returns how often the gate was started, with its reader open.
func (s *stage) generation() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.started
}
