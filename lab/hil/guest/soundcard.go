package guest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"
)

// alsaConfig makes the loopback card ALSA's only one: what is played on its device 0 is heard on device 1.
const alsaConfig = `pcm.!default {
	type plug
	slave.pcm { type hw card Loopback device 0 subdevice 0 }
}
pcm.heard { type hw card Loopback device 1 subdevice 0 }
`

// UseLoopback makes the loopback card the default of this process and of those it starts. ALSA asks once, so it comes first.
func UseLoopback() error {
	const path = "/run/asound.conf"
	if err := os.WriteFile(path, []byte(alsaConfig), 0o644); err != nil {
		return err
	}
	return os.Setenv("ALSA_CONFIG_PATH", path)
}

// Ear is the far end of the loopback: it hears, without a gap, what the card plays, silence included.
type Ear struct {
	cmd *exec.Cmd
	out io.ReadCloser

	mu      sync.Mutex
	samples []float32
	ended   chan error
}

// Listen begins to hear, one channel at rate samples a second.
func Listen(rate int) (*Ear, error) {
	cmd := exec.Command("arecord", "-q", "-D", "heard", "-t", "raw", "-f", "FLOAT_LE", "-c", "1", "-r", strconv.Itoa(rate), "--buffer-time=4000000")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("listening to the loopback: %w", err)
	}
	e := &Ear{cmd: cmd, out: out, ended: make(chan error, 1)}
	go func() { e.ended <- e.hear() }()
	return e, nil
}

func (e *Ear) hear() error {
	var rest []byte
	buf := make([]byte, 1<<14)
	for {
		n, err := e.out.Read(buf)
		rest = append(rest, buf[:n]...)
		e.mu.Lock()
		for ; len(rest) >= 4; rest = rest[4:] {
			e.samples = append(e.samples, math.Float32frombits(binary.LittleEndian.Uint32(rest)))
		}
		e.mu.Unlock()
		if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Heard returns all samples so far.
func (e *Ear) Heard() []float32 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]float32(nil), e.samples...)
}

// Sounds returns the index of the first sample that is not silent from one on.
func (e *Ear) Sounds(from int) (at int, err error) {
	err = await("a sound", func() (bool, error) {
		e.mu.Lock()
		defer e.mu.Unlock()
		for at = from; at < len(e.samples); at++ {
			if e.samples[at] != 0 {
				return true, nil
			}
		}
		return false, nil
	})
	return at, err
}

// Silence waits until the last samples, at least n of them after the index from, are silent.
func (e *Ear) Silence(from, n int) error {
	return await("silence", func() (bool, error) {
		e.mu.Lock()
		defer e.mu.Unlock()
		quiet := 0
		for i := len(e.samples) - 1; i >= from && e.samples[i] == 0; i-- {
			quiet++
		}
		return quiet >= n, nil
	})
}

// Close stops listening.
func (e *Ear) Close() error {
	err := e.cmd.Process.Signal(os.Interrupt)
	select {
	case heard := <-e.ended:
		err = errors.Join(err, heard)
	case <-time.After(patience):
		err = errors.Join(err, e.cmd.Process.Kill(), <-e.ended)
	}
	_ = e.cmd.Wait() // arecord says that it was interrupted
	return err
}
