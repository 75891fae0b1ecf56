// Sound for tests: a sound card made of a FIFO, and the search for clips in what it heard.

package drivertest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/drivers/internal/device"
)

// SoundCard is a sound card without hardware: ALSA's default device is a file plug-in that writes raw 32-bit float
// samples of one channel into a FIFO, and the card takes them from there at the pace of a real one. Give [SoundCard.Env]
// to the process that is to use it; ALSA reads it once, so a test runs that process apart from its own.
type SoundCard struct {
	dir  string
	rate int

	mu      sync.Mutex
	samples []float32
	moments []moment
	taken   *sync.Cond // on mu; samples came, or the card stopped

	fifo    *os.File // nil while unplugged; only plug and unplug change it
	pause   chan bool
	stopped chan struct{}
}

// moment says when the card took samples up to an index.
type moment struct {
	upTo int
	at   time.Time
}

// soundChunk is how long the card's own period is.
const soundChunk = 2 * time.Millisecond

// NewSoundCard makes a sound card in a folder of its own, plugged in, for a stream of rate samples a second. Close it.
func NewSoundCard(dir string, rate int) (*SoundCard, error) {
	c := &SoundCard{dir: dir, rate: rate}
	c.taken = sync.NewCond(&c.mu)
	if err := c.Plug(); err != nil {
		return nil, err
	}
	return c, nil
}

// Env returns the environment that makes this card ALSA's default device, as "KEY=value".
func (c *SoundCard) Env() []string { return []string{"ALSA_CONFIG_PATH=" + c.config()} }

func (c *SoundCard) config() string { return filepath.Join(c.dir, "asound.conf") }

// Plug plugs the card in (again): a new FIFO, and a configuration that leads to it.
func (c *SoundCard) Plug() error {
	path := filepath.Join(c.dir, fmt.Sprintf("card-%d", time.Now().UnixNano()))
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return fmt.Errorf("making the FIFO %s: %w", path, err)
	}
	// Open for both, so that opening does not wait for the other end and reading does not end with it.
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening the FIFO %s: %w", path, err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, 4096); err != nil {
		unix.Close(fd)
		return fmt.Errorf("shrinking the FIFO %s: %w", path, err)
	}
	c.fifo, c.pause, c.stopped = os.NewFile(uintptr(fd), path), make(chan bool), make(chan struct{})
	go c.listen(c.fifo, c.pause, c.stopped)
	return writeConfig(c.config(), fmt.Sprintf(`pcm.!default {
	type plug
	slave.pcm {
		type file
		file %q
		format "raw"
		slave.pcm { type null }
	}
}
`, path))
}

// Unplug takes the card away: writing to it fails from now on, and it cannot be opened.
func (c *SoundCard) Unplug() error {
	if c.fifo == nil {
		return nil
	}
	if err := WriteMissingCard(c.config()); err != nil {
		return err
	}
	err := errors.Join(c.fifo.Close(), os.Remove(c.fifo.Name()))
	<-c.stopped
	c.fifo = nil
	return err
}

// WriteMissingCard writes an ALSA configuration to path whose default device is a card that does not exist.
func WriteMissingCard(path string) error {
	return writeConfig(path, "pcm.!default {\n\ttype hw\n\tcard 31\n}\n")
}

// writeConfig replaces the file at once; ALSA reads it anew when its time of change or inode differs.
func writeConfig(path, text string) error {
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return fmt.Errorf("writing the ALSA configuration: %w", err)
	}
	return os.Rename(path+".new", path)
}

// Stall makes the card take nothing, or go on taking.
func (c *SoundCard) Stall(stall bool) {
	select {
	case c.pause <- stall:
	case <-c.stopped:
	}
}

// Drain waits until the card has taken everything that waits for it.
func (c *SoundCard) Drain() {
	for n, err := device.Unread(c.fifo); n > 0 && err == nil; n, err = device.Unread(c.fifo) {
		time.Sleep(soundChunk)
	}
	c.Stall(false) // the card attends to this only when it is through with what it last took
}

// Close takes the card away for good.
func (c *SoundCard) Close() error { return c.Unplug() }

// Samples returns a copy of everything the card has taken so far, from -1 to 1.
func (c *SoundCard) Samples() []float32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]float32(nil), c.samples...)
}

// Len returns how many samples the card has taken.
func (c *SoundCard) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.samples)
}

// TakenAt returns when the sample with that index was taken, to about 2 ms; zero if it was not.
func (c *SoundCard) TakenAt(index int) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.moments) - 1; i >= 0; i-- {
		if start := 0; index < c.moments[i].upTo {
			if i > 0 {
				start = c.moments[i-1].upTo
			}
			if index >= start {
				return c.moments[i].at
			}
		}
	}
	return time.Time{}
}

// FirstSound waits until the card has taken a sample other than silence at index from or later and returns its index and
// when that was. The error says that the card was unplugged or nothing came within limit.
func (c *SoundCard) FirstSound(from int, limit time.Duration) (index int, at time.Time, err error) {
	late := time.AfterFunc(limit, c.taken.Broadcast)
	defer late.Stop()
	deadline := time.Now().Add(limit)
	c.mu.Lock()
	for i := from; ; i++ {
		for i >= len(c.samples) {
			if !time.Now().Before(deadline) {
				c.mu.Unlock()
				return 0, time.Time{}, fmt.Errorf("no sound came within %v", limit)
			}
			c.taken.Wait()
		}
		if math.Abs(float64(c.samples[i])) > 1e-4 {
			c.mu.Unlock()
			return i, c.TakenAt(i), nil
		}
	}
}

// listen takes samples at real-time pace until the FIFO is closed. Of what waits in the FIFO it makes up for time in which
// this process had no turn, as a card's clock goes on whatever the machine does. When nothing waits the stream has a break,
// after which the pace begins anew.
func (c *SoundCard) listen(fifo *os.File, pause <-chan bool, stopped chan<- struct{}) {
	defer close(stopped)
	defer c.taken.Broadcast()
	frames := int(soundChunk * time.Duration(c.rate) / time.Second)
	chunk := make([]byte, 4*frames)
	due := time.Now()
	for {
		select {
		case stall := <-pause:
			for stall {
				stall = <-pause
			}
			due = time.Now()
		default:
		}
		waiting, err := device.Unread(fifo)
		dry := waiting == 0 && err == nil
		fifo.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		n, err := io.ReadAtLeast(fifo, chunk, 4)
		if n%4 != 0 && err == nil {
			var rest int
			rest, err = io.ReadFull(fifo, chunk[n:(n+3)/4*4])
			n += rest
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case err != nil:
			return
		}
		now := time.Now()
		if dry && due.Before(now) {
			due = now
		}
		c.mu.Lock()
		for i := 0; i < n; i += 4 {
			c.samples = append(c.samples, math.Float32frombits(binary.LittleEndian.Uint32(chunk[i:])))
		}
		c.moments = append(c.moments, moment{len(c.samples), now})
		c.taken.Broadcast()
		c.mu.Unlock()
		due = due.Add(time.Duration(n/4) * time.Second / time.Duration(c.rate))
		time.Sleep(time.Until(due))
	}
}
