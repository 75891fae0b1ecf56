// Package hil runs the gate's drivers and its journal against a real kernel without hardware: in virtual machines of User
// Mode Linux, with simulated devices under the real subsystems. Package guest is the inside.
package hil

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/lab/hil/job"
)

const (
	guestConsole = "/dev/ttyS0"
	memory       = 192 << 20 // bytes of a machine's memory
)

// Machine is one virtual machine, from power on to power off. Its root is the host's file tree, read-only.
type Machine struct {
	cmd   *exec.Cmd
	lines chan []byte
	ended chan struct{}
	err   error // of the process, once ended is closed
	dir   string
	once  sync.Once
}

// Boot describes a machine.
type Boot struct {
	Kernel string  // path of the kernel
	Guest  string  // path of the guest's program, which becomes the first process
	Job    job.Job // Console is filled in
	Disk   string  // path of a file that is the machine's block device; empty for none
	Dir    string  // folder of this machine's files: its job and kernel.log, to which it appends
	// Virtual gives the machine a clock of its own: it stands still while the machine works, and while it waits it leaps to
	// the next timer. Nothing in the machine is then ever late, however busy the host is, and a pause takes no time. Not for
	// a machine with a Disk: the host's answers take no time that such a clock knows of.
	Virtual bool
}

// Start powers a machine on. It is killed, and all that belongs to it, when ctx ends, when Kill is called, or when this
// process dies.
func Start(ctx context.Context, b Boot) (*Machine, error) {
	if err := os.MkdirAll(b.Dir, 0o700); err != nil {
		return nil, err
	}
	b.Job.Console = guestConsole
	jobFile := filepath.Join(b.Dir, "job.json")
	if err := b.Job.Write(jobFile); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(b.Dir, "kernel.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	out, outWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer outWrite.Close()
	// Room for all that a machine with a clock of its own says: while it waited for a reader, time would leap.
	if _, err := unix.FcntlInt(outWrite.Fd(), unix.F_SETPIPE_SZ, 1<<20); err != nil {
		return nil, errors.Join(fmt.Errorf("making room for a virtual machine's output: %w", err), out.Close())
	}
	args := []string{
		fmt.Sprintf("mem=%dM", memory>>20), "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "init=" + b.Guest,
		"con=null", "con0=null,fd:1", "ssl=null", "ssl0=null,fd:3", "loglevel=6", "panic=-1", "uml_dir=" + filepath.Join(b.Dir, "uml"),
		job.Variable + "=" + jobFile,
	}
	if b.Virtual {
		args = append(args, "time-travel=inf-cpu")
	}
	if b.Disk != "" {
		args = append(args, "ubd0="+b.Disk) // without the flag s: writes are not forced through, a flush is
	}
	cmd := exec.Command(b.Kernel, args...)
	cmd.Dir = b.Dir
	cmd.Env = []string{"TMPDIR=" + memoryDir(b.Dir), "HOME=" + b.Dir, "PATH=" + os.Getenv("PATH")}
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{outWrite}
	// In a process namespace of its own the machine is the first process: with it die all it has started.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Cloneflags: unix.CLONE_NEWPID}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}}
	}
	m := &Machine{cmd: cmd, lines: make(chan []byte, 1024), ended: make(chan struct{}), dir: b.Dir}
	if err := startBound(cmd); err != nil {
		return nil, errors.Join(fmt.Errorf("starting a virtual machine: %w", err), out.Close())
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		m.read(out)
	}()
	go func() {
		m.err = cmd.Wait()
		<-read
		close(m.ended)
	}()
	context.AfterFunc(ctx, m.kill)
	return m, nil
}

// read hands on the machine's output until its last writer is gone.
func (m *Machine) read(out *os.File) {
	defer close(m.lines)
	defer out.Close()
	lines := bufio.NewReaderSize(out, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return // a torn last line says nothing
		}
		m.lines <- line
	}
}

// Lines returns the lines of the machine's output. It is closed when the machine has ended, and must be read to its end.
func (m *Machine) Lines() <-chan []byte { return m.lines }

// kill is the power cut: the machine stops between two instructions.
func (m *Machine) kill() {
	m.once.Do(func() {
		_ = m.cmd.Process.Kill()
		_ = unix.Kill(-m.cmd.Process.Pid, unix.SIGKILL)
	})
}

// Kill cuts the machine's power and waits until nothing of it is left. What it had told is still in Lines, which must be
// read meanwhile.
func (m *Machine) Kill() {
	m.kill()
	<-m.ended
}

// Wait waits until the machine has powered off. Lines must be read meanwhile.
func (m *Machine) Wait() error {
	<-m.ended
	if m.err != nil {
		return fmt.Errorf("the virtual machine ended with %w: see %s", m.err, filepath.Join(m.dir, "kernel.log"))
	}
	return nil
}

// startBound starts cmd so that the kernel kills it should this process die. That is tied to the starting thread, so a thread
// that never ends does it.
func startBound(cmd *exec.Cmd) error {
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	result := make(chan error)
	starts <- func() { result <- cmd.Start() }
	return <-result
}

var starts = func() chan<- func() {
	c := make(chan func())
	go func() {
		runtime.LockOSThread()
		for start := range c {
			start()
		}
	}()
	return c
}()

// memoryDir returns where a machine's memory lies: in the host's memory if there is room, else beside its files.
func memoryDir(otherwise string) string {
	const shared = "/dev/shm"
	var st unix.Statfs_t
	if err := unix.Statfs(shared, &st); err != nil || st.Type != unix.TMPFS_MAGIC || st.Bavail*uint64(st.Bsize) < 2*memory {
		return otherwise
	}
	return shared
}
