package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/drivers/speaker"
	"github.com/kipass/kipass/lab/internal/process"
)

const (
	bareTone = 100 * time.Millisecond // how long the bare gate's tone is
	bareRest = 150 * time.Millisecond // of silence behind it
)

// bareTerminal is the terminal in a bare gate's folder.
const bareTerminal = "reader"

// ServeBareGate is the bare limit of a gate's program, to be run in a process of its own: it opens the terminal in dir and
// the sound device, says that it is ready, and plays a tone for each line ended by CR that comes over the terminal. It knows
// no codes and keeps nothing.
func ServeBareGate(ctx context.Context, dir string, out io.Writer) (err error) {
	play, err := openBareSound()
	if err != nil {
		return err
	}
	terminal, err := os.OpenFile(filepath.Join(dir, bareTerminal), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = terminal.Close() })()
	fmt.Fprintln(out, "ready")
	for lines := bufio.NewReader(terminal); ; {
		if _, err := lines.ReadString('\r'); err != nil {
			if ctx.Err() != nil && errors.Is(err, os.ErrClosed) {
				return nil
			}
			return fmt.Errorf("reading from the bare gate's terminal: %w", err)
		}
		if err := play(); err != nil {
			return err
		}
	}
}

// bareGate is a bare gate in a process of its own, with a terminal and a sound card of its own.
type bareGate struct {
	site    *site
	dir     string
	line    *drivertest.Pty
	card    *drivertest.SoundCard
	process *process.Process
}

func newBareGate(ctx context.Context, s *site) (b *bareGate, err error) {
	b = &bareGate{site: s, dir: s.path("bare-gate")}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if err = os.Mkdir(b.dir, 0o700); err != nil {
		return b, err
	}
	if b.line, err = drivertest.OpenPty(filepath.Join(b.dir, bareTerminal)); err != nil {
		return b, err
	}
	if b.card, err = drivertest.NewSoundCard(b.dir, speaker.Rate); err != nil {
		return b, err
	}
	_, err = b.start(ctx)
	return b, err
}

// start starts the program and returns how long it took to say that it is ready.
func (b *bareGate) start(ctx context.Context) (took time.Duration, err error) {
	began := time.Now()
	b.process, _, err = b.site.programs.Start(ctx, "ready", b.card.Env(), "kipass-lab", "bare-gate", "--data", b.dir)
	return time.Since(began), err
}

func (b *bareGate) stop() error {
	p := b.process
	b.process = nil
	if p == nil {
		return nil
	}
	return p.Stop()
}

func (b *bareGate) close() error {
	err := b.stop()
	if b.card != nil {
		err = errors.Join(err, b.card.Close())
	}
	if b.line != nil {
		err = errors.Join(err, b.line.Close())
	}
	return err
}
