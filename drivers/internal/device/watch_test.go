package device

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
)

func TestWatch(t *testing.T) {
	touch := func(path string) error { return os.WriteFile(path, nil, 0o600) }
	for _, c := range []struct {
		rule   string
		before func(dir string) error
		change func(dir string) error
		find   string // what must be there when it is told
	}{
		{"a file that comes", nil, func(dir string) error { return touch(dir + "/by-id/usb") }, "by-id/usb"},
		{"a link that is moved there", nil, func(dir string) error {
			if err := os.Symlink("/dev/null", dir+"/by-id/.new"); err != nil {
				return err
			}
			return os.Rename(dir+"/by-id/.new", dir+"/by-id/usb")
		}, "by-id/usb"},
		{"permissions that are given", func(dir string) error { return touch(dir + "/by-id/usb") },
			func(dir string) error { return os.Chmod(dir+"/by-id/usb", 0o660) }, "by-id/usb"},
		{"a folder that comes with it", func(dir string) error { return os.Remove(dir + "/by-id") }, func(dir string) error {
			if err := os.Mkdir(dir+"/by-id", 0o700); err != nil {
				return err
			}
			return touch(dir + "/by-id/usb")
		}, "by-id/usb"},
		{"a folder that is put in the place of another", nil, func(dir string) error {
			if err := os.Remove(dir + "/by-id"); err != nil {
				return err
			}
			if err := os.Mkdir(dir+"/by-id", 0o700); err != nil {
				return err
			}
			return touch(dir + "/by-id/usb")
		}, "by-id/usb"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			dir := t.TempDir()
			testkit.Check(t, os.Mkdir(dir+"/by-id", 0o700))
			if c.before != nil {
				testkit.Check(t, c.before(dir))
			}
			changed := testkit.Must(Watch(t.Context(), dir+"/by-id/usb"))(t)
			testkit.Check(t, touch(dir+"/other"))
			if len(changed) > 0 {
				t.Error("something else was told")
			}
			testkit.Check(t, c.change(dir))
			for late := time.After(5 * time.Minute); ; {
				select {
				case <-changed:
				case <-late:
					t.Fatal("it was not told")
				}
				// It may be told of a folder on the way first, but then once more.
				if _, err := os.Lstat(filepath.Join(dir, c.find)); err == nil {
					return
				}
			}
		})
	}
	t.Run("any name in a folder", func(t *testing.T) {
		dir := t.TempDir()
		changed := testkit.Must(Watch(t.Context(), filepath.Join(dir, Any)))(t)
		testkit.Check(t, touch(dir+"/event7"))
		<-changed
	})
	t.Run("it ends with its context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		dir := t.TempDir()
		before := descriptors(t)
		testkit.Must(Watch(ctx, dir+"/usb"))(t)
		cancel()
		for deadline := time.Now().Add(5 * time.Minute); descriptors(t) > before; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("its descriptor is open still")
			}
		}
	})
}

func descriptors(t *testing.T) int {
	t.Helper()
	return len(testkit.Must(os.ReadDir("/proc/self/fd"))(t))
}
