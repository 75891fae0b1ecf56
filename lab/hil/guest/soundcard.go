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

// UseLoopback makes the loopback card the default of this process and of those it starts. ALSA looks once, so it
// comes before all else that is done with sound.
func UseLoopback() error {
	const path = "/run/asound.conf"
	if err := os.WriteFile(path, []byte(alsaConfig), 0o644); err != nil {
		return err
	}
	return os.Setenv("ALSA_CONFIG_PATH", path)
}

// Recorder is the far end of the loopback: it records, without a gap, what the card plays, silence included.
type Recorder struct {
	cmd *exec.Cmd
	out io.ReadCloser

	mu      sync.Mutex
	samples []float32
	ended   chan error
}

// Record begins to record, one channel at rate samples a second.
func Record(rate int) (*Recorder, error) {
	cmd := exec.Command("arecord", "-q", "-D", "heard", "-t", "raw", "-f", "FLOAT_LE", "-c", "1", "-r", strconv.Itoa(rate), "--buffer-time=4000000")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("recording the loopback: %w", err)
	}
	r := &Recorder{cmd: cmd, out: out, ended: make(chan error, 1)}
	go func() { r.ended <- r.record() }()
	return r, nil
}

func (r *Recorder) record() error {
	var rest []byte
	buf := make([]byte, 1<<14)
	for {
		n, err := r.out.Read(buf)
		rest = append(rest, buf[:n]...)
		r.mu.Lock()
		for ; len(rest) >= 4; rest = rest[4:] {
			r.samples = append(r.samples, math.Float32frombits(binary.LittleEndian.Uint32(rest)))
		}
		r.mu.Unlock()
		if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Samples returns all samples so far.
func (r *Recorder) Samples() []float32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]float32(nil), r.samples...)
}

// Sound waits for a sound and returns the index of its first sample that is not silent, counting from the index from.
func (r *Recorder) Sound(from int) (at int, err error) {
	err = await("a sound", func() (bool, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for at = from; at < len(r.samples); at++ {
			if r.samples[at] != 0 {
				return true, nil
			}
		}
		return false, nil
	})
	return at, err
}

// Silence waits until the last samples, at least n of them after the index from, are silent.
func (r *Recorder) Silence(from, n int) error {
	return await("silence", func() (bool, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		quiet := 0
		for i := len(r.samples) - 1; i >= from && r.samples[i] == 0; i-- {
			quiet++
		}
		return quiet >= n, nil
	})
}

// Close stops recording.
func (r *Recorder) Close() error {
	err := r.cmd.Process.Signal(os.Interrupt)
	select {
	case failed := <-r.ended:
		err = errors.Join(err, failed)
	case <-time.After(patience):
		err = errors.Join(err, r.cmd.Process.Kill(), <-r.ended)
	}
	_ = r.cmd.Wait() // arecord says that it was interrupted
	return err
}
