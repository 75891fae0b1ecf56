package inquiry

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/secretfile"
	"github.com/kipass/kipass/internal/testkit"
)

// Whatever step of making an authority is interrupted, it is made by repeating it, and nothing of it is made over.
func TestInitIsRepeatedAfterAnInterruption(t *testing.T) {
	testkit.EachCrash(t, 19, func() (func(durable.Disk) error, func(string)) {
		dir := t.TempDir()
		create := func(disk durable.Disk) error { return initialise(dir, DefaultName, disk) }
		return create, func(fault string) {
			_ = create(durable.Disk{}) // complete already, if the fault was the last step's answer
			a, err := Open(dir, time.Now)
			if err != nil {
				t.Fatalf("%s: no authority was made: %v", fault, err)
			}
			testkit.Check(t, a.Close())
			before := testkit.Must(os.ReadFile(filepath.Join(dir, authorityFile)))(t)
			if err := create(durable.Disk{}); err == nil {
				t.Errorf("%s: made over an authority", fault)
			}
			if after := testkit.Must(os.ReadFile(filepath.Join(dir, authorityFile)))(t); string(after) != string(before) {
				t.Errorf("%s: its key was made anew", fault)
			}
		}
	})
}

// None of the authority's keys is read while everybody on the machine may read it.
func TestKeysThatAreOpenAreNotRead(t *testing.T) {
	dir := t.TempDir()
	testkit.Check(t, Init(dir, DefaultName))
	try := func() error {
		a, err := Open(dir, time.Now)
		if err != nil {
			return err
		}
		return a.Close()
	}
	testkit.Check(t, try())
	for _, name := range []string{authorityFile, auditKeyFile, rootFile} {
		path := filepath.Join(dir, name)
		testkit.Check(t, os.Chmod(path, 0o644))
		if err := try(); !errors.Is(err, secretfile.ErrOpen) || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("%s: %v", name, err)
		}
		testkit.Check(t, os.Chmod(path, 0o600))
	}
}
