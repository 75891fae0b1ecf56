package chain

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// line is the serial line of a simulated reader: the lab writes what the reader would send, the gate opens the device.
type line struct {
	device string // path for the gate's config
	baud   int
	master *os.File
	slave  *os.File // kept open, so that the line outlives a gate that is killed
	mu     sync.Mutex
}

func newLine(baud int) (*line, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("opening a serial line: %w", err)
	}
	// Raw from the start: a gate that has not yet opened the line must not have its input echoed back.
	termios, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("serial line: %w", err)
	}
	termios.Iflag, termios.Oflag, termios.Lflag = 0, 0, 0
	if err := unix.IoctlSetTermios(int(slave.Fd()), unix.TCSETS, termios); err != nil {
		return nil, fmt.Errorf("serial line: %w", err)
	}
	return &line{device: slave.Name(), baud: baud, master: master, slave: slave}, nil
}

// send writes bytes at the pace of the line: ten bits a byte.
func (l *line) send(ctx context.Context, b []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	const chunk = 32
	pace := time.Duration(chunk) * 10 * time.Second / time.Duration(l.baud)
	for len(b) > 0 {
		n := min(chunk, len(b))
		if _, err := l.master.Write(b[:n]); err != nil {
			return fmt.Errorf("writing to the serial line: %w", err)
		}
		if b = b[n:]; len(b) == 0 {
			return nil
		}
		select {
		case <-time.After(pace):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (l *line) close() {
	l.slave.Close()
	l.master.Close()
}
