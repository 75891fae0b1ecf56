package process

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// The test's own process is held against what getrusage says of it.
func TestUsage(t *testing.T) {
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{name: "test", cmd: &exec.Cmd{Process: self}}
	held := make([]byte, 64<<20)
	for i := range held {
		held[i] = byte(i)
	}
	for sum := 0; own(t) < 100*time.Millisecond; sum++ {
	}
	before := own(t)
	cpu, err := p.CPU()
	if err != nil {
		t.Fatal(err)
	}
	const tick = 10 * time.Millisecond // getrusage may go by ticks of the kernel
	if after := own(t); cpu < before-2*tick || cpu > after+2*tick {
		t.Errorf("processor time %v, is between %v and %v", cpu, before, after)
	}
	rss, err := p.RSS()
	if err != nil {
		t.Fatal(err)
	}
	if rss < int64(len(held)) || rss > 64*int64(len(held)) {
		t.Errorf("%d bytes in memory, %d were just written", rss, len(held))
	}
	runtime.KeepAlive(held)
}

func own(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
