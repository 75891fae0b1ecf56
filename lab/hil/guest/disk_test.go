package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/lab/hil/job"
	"github.com/kipass/kipass/lab/hil/powerdisk"
)

// TestDiskStartsEveryTime starts the journal's disk again and again. Each is then sent the signal by which Go preempts a
// thread, to every thread it has, and must still be there.
func TestDiskStartsEveryTime(t *testing.T) {
	starts := number(t, "HIL_STARTS", 200)
	for i := range starts {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			disk := testkit.Must(startDisk(diskWord, job.Volatile, uint64(i)))(t)
			defer func() {
				testkit.Check(t, disk.Process.Kill())
				_ = disk.Wait() // it was killed
				testkit.Check(t, await("the kernel to let go of "+served, func() (bool, error) {
					_, err := os.Stat("/sys/block/" + filepath.Base(served) + "/pid") // there while it has a connection
					return errors.Is(err, fs.ErrNotExist), nil
				}))
			}()
			preempt(t, disk.Process.Pid)
			device := testkit.Must(os.Open(served))(t)
			defer device.Close()
			block := make([]byte, powerdisk.Block)
			for n := range int64(4) {
				if _, err := device.ReadAt(block, n*powerdisk.Block); err != nil {
					t.Fatalf("reading block %d: %v", n, err)
				}
			}
		})
		report(t, "disk_starts", float64(i+1))
	}
}

// preempt sends SIGURG to every thread of a process.
func preempt(t *testing.T, pid int) {
	t.Helper()
	for _, task := range testkit.Must(filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid)))(t) {
		thread := testkit.Must(strconv.Atoi(filepath.Base(task)))(t)
		testkit.Check(t, unix.Tgkill(pid, thread, unix.SIGURG))
	}
}
