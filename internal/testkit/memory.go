package testkit

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// MemoryDir returns a new folder on a file system that lies in memory, and skips the test where the machine has none that
// it may write to.
func MemoryDir(t testing.TB) string {
	t.Helper()
	const shared = "/dev/shm" // tmpfs on every Linux, see shm_overview(7)
	var st unix.Statfs_t
	if err := unix.Statfs(shared, &st); err != nil || st.Type != unix.TMPFS_MAGIC {
		t.Skipf("%s is no tmpfs here", shared)
	}
	dir, err := os.MkdirTemp(shared, "kipass-test-")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
