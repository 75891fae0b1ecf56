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
	testkit.EachCrash(t, 19, func() (func(durable.Disk) error, func(string)) {
		dir := t.TempDir()
		f := Folder{Dir: filepath.Join(dir, "data"), Secrets: filepath.Join(dir, "secrets")}
		create := func(disk durable.Disk) error { return f.init([]string{"localhost"}, noon, disk) }
		return create, func(fault string) {
			if err := create(durable.Disk{}); err != nil && !errors.Is(err, ErrExists) {
				t.Errorf("%s, repeated: %v", fault, err)
			}
			if _, err := f.Unlock(); err != nil {
				t.Errorf("%s: no server was made: %v", fault, err)
			}
			if err := create(durable.Disk{}); !errors.Is(err, ErrExists) {
				t.Errorf("%s: made over a server: %v", fault, err)
			}
		}
	})
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
