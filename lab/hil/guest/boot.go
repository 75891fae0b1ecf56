// Package guest is what runs inside the virtual machine of the hardware tests: its first process, the hands that play the
// devices (USB gadgets, simulated GPIO lines, the far end of a sound loopback), and, as tests, the drivers on all of that.
package guest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/lab/hil/job"
)

// mounts are made over the host's tree, which is the root and read-only. Only what lies below them can be written.
var mounts = []struct{ kind, at string }{
	{"proc", "/proc"},
	{"sysfs", "/sys"},
	{"configfs", "/sys/kernel/config"},
	{"devtmpfs", "/dev"},
	{"tmpfs", "/run"},
	{"tmpfs", "/mnt"},
}

// Boot is the first process of the machine: it mounts what the kernel offers, does its job and powers off. It never
// returns. disk is the word with which this program is started anew to play the journal's disk.
func Boot(disk string) {
	j, err := job.Read(os.Getenv(job.Variable)) // before anything is mounted over its place
	if err == nil {
		err = mount()
	}
	var console *os.File
	if err == nil {
		console, err = openRaw(j.Console)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kipass guest:", err)
		powerOff()
	}
	facts := job.NewEncoder(console)
	if j.Journal != nil {
		err = keepJournal(*j.Journal, disk, facts)
	} else {
		var exit int
		if exit, err = runTests(j, console); err == nil {
			err = facts.Encode(job.Fact{Done: true, Exit: exit})
		}
	}
	if err != nil {
		_ = facts.Encode(job.Fact{Failure: err.Error()})
	}
	_ = drain(console)
	powerOff()
}

func mount() error {
	for _, m := range mounts {
		err := unix.Mount(m.kind, m.at, m.kind, 0, "")
		if err != nil && !(m.kind == "devtmpfs" && errors.Is(err, unix.EBUSY)) { // the kernel mounts /dev itself
			return fmt.Errorf("mounting %s on %s: %w", m.kind, m.at, err)
		}
	}
	if err := os.MkdirAll("/dev/serial/by-id", 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll("/dev/shm", 0o755); err != nil {
		return err
	}
	return loopbackUp()
}

// loopbackUp brings the network interface lo up.
func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bringing the loopback up: %w", err)
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("bringing the loopback up: %w", err)
	}
	return nil
}

// runTests runs this program again, as a test, and reaps what it leaves behind.
func runTests(j job.Job, console io.Writer) (exit int, err error) {
	cmd := exec.Command("/proc/self/exe", j.Args...)
	cmd.Dir = "/run"
	cmd.Env = append([]string{"PATH=" + standardPath, "HOME=/run", "TMPDIR=/run", Mark + "=1"}, j.Env...)
	cmd.Stdout, cmd.Stderr = console, console
	if err := cmd.Run(); err != nil {
		var failed *exec.ExitError
		if !errors.As(err, &failed) {
			return 0, fmt.Errorf("starting the tests: %w", err)
		}
		return max(failed.ExitCode(), 1), nil
	}
	return 0, nil
}

const standardPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Mark is set in the environment of the tests inside the machine.
const Mark = "KIPASS_HIL_GUEST"

// openRaw opens a terminal so that bytes pass unchanged.
func openRaw(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if err := makeRaw(f); err != nil {
		return nil, errors.Join(fmt.Errorf("setting up %s: %w", path, err), f.Close())
	}
	return f, nil
}

func makeRaw(f *os.File) error {
	return control(f, func(fd int) error {
		t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil {
			return err
		}
		t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
		t.Cflag = t.Cflag&^unix.CSIZE | unix.CS8 | unix.CREAD | unix.CLOCAL
		t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
		return unix.IoctlSetTermios(fd, unix.TCSETS, t)
	})
}

// drain waits until everything written to a terminal has left.
func drain(f *os.File) error {
	return control(f, func(fd int) error { return unix.IoctlSetInt(fd, unix.TCSBRK, 1) })
}

func control(f *os.File, call func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = call(int(fd)) }); err != nil {
		return err
	}
	return inner
}

func powerOff() {
	signal.Ignore(syscall.SIGCHLD)
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	os.Exit(1)
}
