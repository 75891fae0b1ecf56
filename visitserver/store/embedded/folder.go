package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// makeFolder makes path and its parents for this user alone, durably up to the store's own folder's parent.
func (s *Store) makeFolder(path string) error {
	if err := s.fs.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("making folder: %w", err)
	}
	for {
		path = filepath.Dir(path)
		if err := s.syncFolder(path); err != nil {
			return err
		}
		if rel, err := filepath.Rel(s.dir, path); err != nil || rel == ".." {
			return err
		}
	}
}

func (s *Store) syncFolder(path string) error {
	f, err := s.fs.OpenDir(path)
	if err != nil {
		return fmt.Errorf("syncing folder: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("syncing folder %s: %w", path, err)
	}
	return nil
}

// dbLogger passes Pebble's errors on. Pebble calls Fatalf when the disk fails under it in a way after which no
// acknowledgement could be kept; it must not return.
type dbLogger struct{ store *Store }

func (l dbLogger) Infof(format string, args ...any) {}
func (l dbLogger) Errorf(format string, args ...any) {
	l.store.logLimited(format, fmt.Sprintf(format, args...))
}
func (l dbLogger) Fatalf(format string, args ...any) {
	l.store.opts.Logger.Error("store cannot go on", "error", fmt.Sprintf(format, args...))
	os.Exit(1)
}
