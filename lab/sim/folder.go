package sim

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// The folder of a run lies in memory where there is such a file system: nothing in it need outlive the run. The run holds a
// lock on it (flock(2)), which ends with its process however that ends: a folder that nobody holds is left by a run that was
// killed, and the next run clears it away.

const (
	shared       = "/dev/shm" // tmpfs on every Linux, see shm_overview(7)
	folderPrefix = "kipass-simulator-"
)

// folder makes the folder of a run; clean removes it.
func folder(t *testing.T) (dir string, clean func()) {
	sweep(shared)
	for range 3 { // another run that sweeps may come between making and holding
		dir, err := os.MkdirTemp(shared, folderPrefix)
		if err != nil {
			break
		}
		held := hold(dir)
		clean := func() {
			_ = os.RemoveAll(dir)
			_ = held.Close()
		}
		if held != nil {
			return dir, clean
		}
		clean()
	}
	return t.TempDir(), func() {}
}

// hold locks a folder until the file is closed or the process ends; nil if somebody else holds it, or it is gone.
func hold(dir string) *os.File {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
		if _, err := os.Lstat(dir); err == nil { // nobody has removed it meanwhile
			return f
		}
	}
	_ = f.Close()
	return nil
}

// sweep removes the folders of runs that were killed.
func sweep(parent string) {
	folders, _ := filepath.Glob(filepath.Join(parent, folderPrefix+"*"))
	for _, dir := range folders {
		if left := hold(dir); left != nil {
			_ = os.RemoveAll(dir)
			_ = left.Close()
		}
	}
}
