package visitserver

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/secretfile"
	"github.com/kipass/kipass/internal/testkit"
)

// Whatever step of making a server is interrupted, it is made by repeating it, and never made over one that is there.
func TestInitIsRepeatedAfterAnInterruption(t *testing.T) {
	for _, persisted := range []bool{false, true} {
		for n := 1; ; n++ {
			dir := t.TempDir()
			f := Folder{Dir: filepath.Join(dir, "data"), Secrets: filepath.Join(dir, "secrets")}
			crash := testkit.Crash{At: n, Persisted: persisted}
			err := f.init([]string{"localhost"}, noon, crash.Disk())
			if len(crash.Steps) < n {
				if n < 20 || err != nil {
					t.Fatalf("making a server has %d steps, %v", len(crash.Steps), err)
				}
				break
			}
			if !errors.Is(err, testkit.ErrFault) {
				t.Errorf("fault %d (%s): %v", n, crash.Steps[n-1], err)
			}
			if err := f.init([]string{"localhost"}, noon, durable.Disk{}); err != nil && !errors.Is(err, ErrExists) {
				t.Errorf("fault %d (%s), repeated: %v", n, crash.Steps[n-1], err)
			}
			if _, err := f.Unlock(); err != nil {
				t.Errorf("fault %d (%s): no server was made: %v", n, crash.Steps[n-1], err)
			}
			if err := f.init([]string{"localhost"}, noon, durable.Disk{}); !errors.Is(err, ErrExists) {
				t.Errorf("fault %d (%s): made over a server: %v", n, crash.Steps[n-1], err)
			}
		}
	}
}

func TestAMasterKeyThatIsThereIsTaken(t *testing.T) {
	dir := t.TempDir()
	first := Folder{Dir: filepath.Join(dir, "first"), Secrets: filepath.Join(dir, "secrets")}
	testkit.Check(t, first.Init([]string{"localhost"}, noon))
	before := testkit.Must(os.ReadFile(first.masterPath()))(t)
	second := Folder{Dir: filepath.Join(dir, "second"), Secrets: first.Secrets}
	testkit.Check(t, second.Init([]string{"localhost"}, noon))
	if after := testkit.Must(os.ReadFile(first.masterPath()))(t); !bytes.Equal(before, after) {
		t.Error("the master key was made anew")
	}
	for _, f := range []Folder{first, second} {
		if _, err := f.Unlock(); err != nil {
			t.Error(err)
		}
	}
	testkit.Check(t, os.WriteFile(first.masterPath(), []byte("no key"), 0o600))
	third := Folder{Dir: filepath.Join(dir, "third"), Secrets: first.Secrets}
	if err := third.Init([]string{"localhost"}, noon); err == nil {
		t.Error("a file that holds no master key was taken for one")
	}
}

// By default nothing in the data folder opens what is in it.
func TestTheMasterKeyLiesApartFromTheData(t *testing.T) {
	f := Folder{Dir: filepath.Join(t.TempDir(), "visits")}
	testkit.Check(t, f.Init([]string{"localhost"}, noon))
	if _, err := os.Stat(filepath.Join(f.Dir+".secrets", masterFile)); err != nil {
		t.Error(err)
	}
	moved := Folder{Dir: filepath.Join(t.TempDir(), "stolen")}
	testkit.Check(t, os.Rename(f.Dir, moved.Dir))
	if _, err := moved.Unlock(); err == nil {
		t.Error("the data opens by itself")
	}
	t.Setenv("CREDENTIALS_DIRECTORY", f.Dir+".secrets")
	if _, err := moved.Unlock(); err != nil {
		t.Errorf("with systemd's credentials: %v", err)
	}
}

func TestAMasterKeyThatIsOpenIsNotRead(t *testing.T) {
	f := Folder{Dir: filepath.Join(t.TempDir(), "visits")}
	testkit.Check(t, f.Init([]string{"localhost"}, noon))
	testkit.Check(t, os.Chmod(f.masterPath(), 0o644))
	if _, err := f.Unlock(); !errors.Is(err, secretfile.ErrOpen) || !strings.Contains(err.Error(), "chmod 600 "+f.masterPath()) {
		t.Errorf("unlocked: %v", err)
	}
}
