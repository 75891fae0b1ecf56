// Package process starts the programs of the project as processes of their own, keeps their output, and ends them.
package process

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Generous: they only end what hangs, and no run may depend on how fast the machine is.
const (
	readyWithin = 2 * time.Minute
	endsWithin  = 2 * time.Minute
)

// Process is one of the project's programs running as a process of its own, its output kept in a file.
type Process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // why, valid once done is closed
}

// Programs starts the programs that lie in one folder and keeps their logs in another.
type Programs struct {
	Bin  string
	Logs string
}

// Run runs a program to its end and returns what it wrote to standard output.
func (p Programs) Run(ctx context.Context, name string, args ...string) (string, error) {
	return p.RunTaking(ctx, 0, name, args...)
}

// RunTaking is as Run, but takes one exit status beside 0 for success.
func (p Programs) RunTaking(ctx context.Context, status int, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(p.Bin, name), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && (cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != status) {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

// Start starts a program and waits until a line of its output begins with ready; it returns the rest of that line.
// An empty ready returns at once.
func (p Programs) Start(ctx context.Context, ready string, env []string, name string, args ...string) (*Process, string, error) {
	log, err := os.OpenFile(filepath.Join(p.Logs, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, "", err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, "", errors.Join(err, log.Close())
	}
	cmd := exec.Command(filepath.Join(p.Bin, name), args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = w, w
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // the lab's end is theirs, however it comes
	if err := cmd.Start(); err != nil {
		return nil, "", errors.Join(fmt.Errorf("starting %s: %w", name, err), log.Close(), r.Close(), w.Close())
	}
	w.Close()
	prog := &Process{name: name, cmd: cmd, done: make(chan struct{})}
	told := make(chan string, 1)
	var copying sync.WaitGroup
	copying.Go(func() { copyOutput(log, r, ready, told) })
	go func() {
		copying.Wait()
		prog.err = cmd.Wait()
		log.Close()
		close(prog.done)
	}()
	if ready == "" {
		return prog, "", nil
	}
	select {
	case rest := <-told:
		return prog, rest, nil
	case <-prog.done:
		return nil, "", fmt.Errorf("%s ended before it was ready: %v; see %s", name, prog.err, log.Name())
	case <-time.After(readyWithin):
		prog.Kill()
		return nil, "", fmt.Errorf("%s was not ready within %v; see %s", name, readyWithin, log.Name())
	case <-ctx.Done():
		prog.Kill()
		return nil, "", ctx.Err()
	}
}

// copyOutput copies lines to the log until the writer's end is closed and tells the first that begins with ready.
func copyOutput(log io.Writer, r io.ReadCloser, ready string, told chan<- string) {
	defer r.Close()
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		io.WriteString(log, line)
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), ready); ok && ready != "" {
			select {
			case told <- strings.TrimSpace(rest):
			default:
			}
		}
		if err != nil {
			return
		}
	}
}

// Kill ends the process as a power cut would and waits for its end.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// Stop asks the process to end and waits for it. One that does not end is killed, which is an error.
func (p *Process) Stop() error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return p.err
	case <-time.After(endsWithin):
		p.Kill()
		return fmt.Errorf("%s did not end within %v of being asked to", p.name, endsWithin)
	}
}
