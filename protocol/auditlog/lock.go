package auditlog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/kipass/kipass/internal/durable"
)

// filesystem is what the log writes through, so that its faults can be played.
type filesystem interface {
	OpenAppend(path string) (appendFile, error)
	Replace(path string, data []byte) error // whole and durable, or an error
}

type appendFile interface {
	io.WriteCloser
	Sync() error
	Truncate(size int64) error
}

type disk struct{}

func (disk) OpenAppend(path string) (appendFile, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
}

func (disk) Replace(path string, data []byte) error { return durable.Disk{}.Replace(path, data, 0o644) }

// lockDir takes the log for this process until the file is closed.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking audit log: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", dir, ErrInUse)
		}
		return nil, fmt.Errorf("locking audit log: %w", err)
	}
	return f, nil
}
