package hil

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// ErrNoKernel means that the kernel was not built yet.
var ErrNoKernel = errors.New("no cached kernel: run make hil once")

// CachedKernel returns the path of the kernel kept by the script build-kernel of the tree's folder lab/hil. It builds none:
// without one the error is ErrNoKernel.
func CachedKernel(ctx context.Context, folder string) (string, error) {
	if runtime.GOARCH != "amd64" {
		return "", fmt.Errorf("%w (User Mode Linux runs on amd64 only)", ErrNoKernel)
	}
	script, err := filepath.Abs(filepath.Join(folder, "build-kernel"))
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, script, "--if-built").Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return "", ErrNoKernel
	}
	if err != nil {
		return "", fmt.Errorf("looking for the kernel: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// BuildGuest builds the guest's program, the test program of package guest, into dir. folder is the tree's lab/hil.
func BuildGuest(ctx context.Context, folder, dir string) (string, error) {
	path := filepath.Join(dir, "guest")
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-trimpath", "-o", path, "./guest")
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the guest: %w: %s", err, bytes.TrimSpace(out))
	}
	return path, nil
}

// newDisk makes a file that is an empty ext4 disk of the size in bytes. It takes space as it is written to.
func newDisk(ctx context.Context, path string, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return fmt.Errorf("making a disk: %w", err)
	}
	// Everything is initialised now, so that the machine's kernel has no work of its own to do.
	cmd := exec.CommandContext(ctx, "mkfs.ext4", "-q", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0", path)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if found, err := exec.LookPath("/sbin/mkfs.ext4"); err == nil {
		cmd.Path, cmd.Err = found, nil
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("making a file system: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}
