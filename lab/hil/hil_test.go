package hil

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/lab/hil/job"
)

// kernel returns the kernel that make hil has built, or skips.
func kernel(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a kernel")
	}
	k, err := CachedKernel(t.Context(), ".")
	if errors.Is(err, ErrNoKernel) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestOnARealKernel is make hil cut short.
func TestOnARealKernel(t *testing.T) {
	k := kernel(t)
	var table bytes.Buffer
	s, err := Run(t.Context(), Options{Folder: ".", Kernel: k, Short: true, Cycles: 8, Replugs: 3, Out: &table})
	t.Logf("\n%s", table.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Scenarios) != len(Scenarios()) {
		t.Errorf("%d scenarios were run, there are %d", len(s.Scenarios), len(Scenarios()))
	}
}

// TestAMachineLeavesNothing kills machines at different ages, and looks for processes.
func TestAMachineLeavesNothing(t *testing.T) {
	k := kernel(t)
	tr := testkit.Must(newTruth())(t)
	guest := testkit.Must(BuildGuest(t.Context(), ".", t.TempDir()))(t)
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk")
	testkit.Check(t, newDisk(t.Context(), disk, 64<<20))
	b := Boot{Kernel: k, Guest: guest, Disk: disk, Dir: dir, Job: job.Job{Journal: &job.Journal{Disk: job.Volatile, SealKey: tr.key.Public().Bytes()}}}
	for _, c := range []struct {
		rule string
		end  func(m *Machine, stop context.CancelFunc)
	}{
		{"killed at once", func(m *Machine, _ context.CancelFunc) { m.Kill() }},
		{"killed while it works", func(m *Machine, _ context.CancelFunc) {
			for line := range m.Lines() {
				if f, ok := job.ParseFact(line); ok && f.Acked != nil {
					m.kill()
				}
			}
		}},
		{"its context ended", func(_ *Machine, stop context.CancelFunc) { stop() }},
	} {
		t.Run(c.rule, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			m := testkit.Must(Start(ctx, b))(t)
			drained := make(chan struct{})
			go func() {
				defer close(drained)
				if c.rule != "killed while it works" {
					for range m.Lines() {
					}
				}
			}()
			c.end(m, stop)
			if err := m.Wait(); err == nil {
				t.Error("the machine powered off by itself")
			}
			<-drained
			left := processesOf(t, dir)
			for deadline := time.Now().Add(hungAfter); len(left) > 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
				left = processesOf(t, dir)
			}
			if len(left) > 0 {
				t.Errorf("processes are left: %s", left)
			}
		})
	}
}

// processesOf returns those whose command line names the folder.
func processesOf(t *testing.T, dir string) (of []string) {
	t.Helper()
	for _, path := range testkit.Must(filepath.Glob("/proc/[0-9]*/cmdline"))(t) {
		if b, err := os.ReadFile(path); err == nil && strings.Contains(string(b), dir) {
			of = append(of, path)
		}
	}
	return of
}
