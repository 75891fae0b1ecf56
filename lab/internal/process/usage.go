package process

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CPU returns the processor time the process has used, all threads, user and system together.
func (p *Process) CPU() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(processClock(p.cmd.Process.Pid), &t); err != nil {
		return 0, fmt.Errorf("processor time of %s: %w", p.name, err)
	}
	return time.Duration(t.Nano()), nil
}

// processClock names the clock of another process's time, as clock_getcpuclockid(3) does: the complement of its number,
// and in the last three bits that time as the scheduler counts it is meant (CPUCLOCK_SCHED). It counts nanoseconds, where
// /proc counts hundredths of a second.
func processClock(pid int) int32 { return int32(^pid<<3 | 2) }

// RSS returns the bytes of the process that lie in memory.
func (p *Process) RSS() (int64, error) {
	raw, err := os.ReadFile(p.proc("status"))
	if err != nil {
		return 0, fmt.Errorf("memory of %s: %w", p.name, err)
	}
	for line := range strings.Lines(string(raw)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("memory of %s: %w", p.name, err)
			}
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("memory of %s: no VmRSS in its status", p.name)
}

func (p *Process) proc(file string) string {
	return fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, file)
}
