package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/visitserver"
)

// asProgram is set for a process of this test that is to be the program itself.
const asProgram = "KIPASS_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(cli.Main(newProgram()))
	}
	os.Exit(m.Run())
}

// process is the program, running.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	out *bufio.Reader
	err *testkit.Buffer
}

func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(testkit.Must(os.Executable())(t), args...), err: &testkit.Buffer{}}
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	p.cmd.Stderr = p.err
	p.out = bufio.NewReader(testkit.Must(p.cmd.StdoutPipe())(t))
	testkit.Check(t, p.cmd.Start())
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

func (p *process) ready() {
	p.t.Helper()
	if line, err := p.out.ReadString('\n'); err != nil || !strings.HasPrefix(line, "ready ") {
		p.t.Fatalf("%q, %v: %s", line, err, p.err)
	}
}

// end waits for the program and returns its exit status.
func (p *process) end(signal os.Signal) int {
	p.t.Helper()
	if signal != nil {
		testkit.Check(p.t, p.cmd.Process.Signal(signal))
	}
	ended := make(chan error, 1)
	go func() {
		_, _ = io.Copy(io.Discard, p.out)
		ended <- p.cmd.Wait()
	}()
	_ = testkit.Soon(p.t, "the program's end", ended)
	return p.cmd.ProcessState.ExitCode()
}

// The disk is filled by others. The server starts on its ballast, destroys and tells; when that is used up too, it says so
// and ends; and with space it goes on as if nothing had been.
func TestStartingOnAFullDisk(t *testing.T) {
	disk := testkit.NewSmallDisk(t, 48<<20)
	folder := visitserver.Folder{Dir: filepath.Join(disk.Path, "visits")}
	admin := func(command string, args ...string) (string, error) {
		out, err := folder.Admin(context.Background(), visitserver.AdminRequest{Command: command, Args: args})
		return string(out), err
	}
	serve := []string{"serve", "--data", folder.Dir, "--listen", "127.0.0.1:0"}
	if status := startProcess(t, "init", "--data", folder.Dir).end(nil); status != cli.StatusDone {
		t.Fatalf("init ended with %d", status)
	}
	p := startProcess(t, serve...)
	p.ready()
	for i := range 100 { // so that there is something to write as it starts again
		testkit.Must(admin("facility add", fmt.Sprintf("f-%d", i), strings.Repeat("이름 ", 500)))(t)
	}
	testkit.Check(t, p.cmd.Process.Kill())
	p.end(nil)

	disk.Fill()
	p = startProcess(t, serve...)
	p.ready()
	for _, command := range []string{"destroy", "ledger"} {
		if out, err := admin(command); err != nil || !strings.HasPrefix(out, "{") {
			t.Errorf("%s on a full disk: %q, %v", command, out, err)
		}
	}
	testkit.Check(t, p.cmd.Process.Kill())
	p.end(nil)
	if !strings.Contains(p.err.String(), "the ballast was given up") {
		t.Errorf("the log does not tell: %s", p.err)
	}

	disk.Fill()
	p = startProcess(t, serve...)
	if status := p.end(nil); status != cli.StatusFailed {
		t.Errorf("without any space it ended with %d", status)
	}
	if said := p.err.String(); !strings.Contains(said, "the disk is full") || !strings.Contains(said, folder.Dir) || len(said) > 1000 {
		t.Errorf("without any space it says %q", said)
	}

	disk.Empty()
	p = startProcess(t, serve...)
	p.ready()
	if out, err := admin("ledger"); err != nil || strings.Count(out, `"facility"`) != 100 {
		t.Errorf("with space again: %d facilities, %v", strings.Count(out, `"facility"`), err)
	}
	if status := p.end(os.Interrupt); status != cli.StatusDone {
		t.Errorf("it ended with %d: %s", status, p.err)
	}
}
