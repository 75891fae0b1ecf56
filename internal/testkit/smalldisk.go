package testkit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// SmallDisk is a file system of its own, in memory, that a test can fill.
type SmallDisk struct {
	Path string
	t    testing.TB
}

// NewSmallDisk mounts one until the test ends, which is skipped where that is not allowed, and under -short.
func NewSmallDisk(t testing.TB, bytes int) SmallDisk {
	t.Helper()
	if testing.Short() {
		t.Skip("mounts a file system")
	}
	path := t.TempDir()
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { Check(t, unix.Unmount(path, unix.MNT_DETACH)) })
	return SmallDisk{path, t}
}

func (d SmallDisk) filling() string { return filepath.Join(d.Path, "filling") }

// Fill leaves nothing free.
func (d SmallDisk) Fill() {
	d.t.Helper()
	f := Must(os.OpenFile(d.filling(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600))(d.t)
	defer f.Close()
	for _, size := range []int{1 << 16, 1 << 12} {
		for {
			_, err := f.Write(make([]byte, size))
			if errors.Is(err, unix.ENOSPC) {
				break
			}
			Check(d.t, err)
		}
	}
}

// Empty gives back what Fill took.
func (d SmallDisk) Empty() {
	d.t.Helper()
	Check(d.t, os.Remove(d.filling()))
}
