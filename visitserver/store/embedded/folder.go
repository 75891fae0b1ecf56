package embedded

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
)

// makeFolder makes path and its parents durable for this user alone.
func makeFolder(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("making folder: %w", err)
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("syncing folder: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("syncing folder %s: %w", path, err)
	}
	return nil
}

// dbLogger passes Pebble's errors on. Pebble calls Fatalf when the disk fails under it in a way after which no
// acknowledgement could be kept; it must not return.
type dbLogger struct{ log *slog.Logger }

func (l dbLogger) Infof(format string, args ...any) {}
func (l dbLogger) Errorf(format string, args ...any) {
	l.log.Error("store", "error", fmt.Sprintf(format, args...))
}
func (l dbLogger) Fatalf(format string, args ...any) {
	l.log.Error("store cannot go on", "error", fmt.Sprintf(format, args...))
	os.Exit(1)
}
