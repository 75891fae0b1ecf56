package uplink

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const scratch = ".part-" // begins the name of a file that is being written

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
	if err := folder(filepath.Dir(dir)).sync(); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("identity folder: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), scratch) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return "", fmt.Errorf("identity folder: %w", err)
			}
		}
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
func (f folder) write(name string, b []byte) (err error) {
	t, err := os.CreateTemp(string(f), scratch+"*") // 0600
	if err != nil {
		return fmt.Errorf("writing %s: %w", f.path(name), err)
	}
	defer func() {
		if err != nil {
			t.Close()
			os.Remove(t.Name())
			err = fmt.Errorf("writing %s: %w", f.path(name), err)
		}
	}()
	if _, err := t.Write(b); err != nil {
		return err
	}
	if err := t.Sync(); err != nil {
		return err
	}
	if err := t.Close(); err != nil {
		return err
	}
	if err := os.Rename(t.Name(), f.path(name)); err != nil {
		return err
	}
	return f.sync()
}

// move renames a file over another, durably.
func (f folder) move(from, to string) error {
	if err := os.Rename(f.path(from), f.path(to)); err != nil {
		return fmt.Errorf("moving %s: %w", f.path(from), err)
	}
	return f.sync()
}

// remove deletes a file durably; one that is not there is removed already.
func (f folder) remove(name string) error {
	err := os.Remove(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("removing %s: %w", f.path(name), err)
	}
	return f.sync()
}

func (f folder) sync() error {
	d, err := os.Open(string(f))
	if err != nil {
		return fmt.Errorf("syncing folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing folder %s: %w", f, err)
	}
	return nil
}
