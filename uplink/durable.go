package uplink

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kipass/kipass/internal/durable"
)

// folder is a directory of small files, each replaced as a whole: after a crash a file is the old one or the new one.
type folder string

// openFolder makes the directory if need be, closes it to others and removes what a crash left half written.
func openFolder(dir string) (folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("identity folder: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return "", fmt.Errorf("identity folder must be closed to others: %w", err)
	}
	if err := errors.Join(durable.Disk{}.SyncDir(filepath.Dir(dir)), durable.Disk{}.Sweep(dir)); err != nil {
		return "", fmt.Errorf("identity folder: %w", err)
	}
	return folder(dir), nil
}

func (f folder) path(name string) string { return filepath.Join(string(f), name) }

// read returns the content of a file, nil when there is none.
func (f folder) read(name string) ([]byte, error) {
	b, err := os.ReadFile(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", f.path(name), err)
	}
	return b, nil
}

// write replaces a file; when it returns nil the new content is durable.
func (f folder) write(name string, b []byte) error {
	if err := (durable.Disk{}).Replace(f.path(name), b, 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", f.path(name), err)
	}
	return nil
}

// move renames a file over another, durably.
func (f folder) move(from, to string) error {
	if err := (durable.Disk{}).Rename(f.path(from), f.path(to)); err != nil {
		return fmt.Errorf("moving %s: %w", f.path(from), err)
	}
	return nil
}

// remove deletes a file durably; one that is not there is removed already.
func (f folder) remove(name string) error {
	if err := (durable.Disk{}).Remove(f.path(name)); err != nil {
		return fmt.Errorf("removing %s: %w", f.path(name), err)
	}
	return nil
}
