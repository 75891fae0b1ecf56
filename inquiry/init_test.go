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
	for _, persisted := range []bool{false, true} {
		for n := 1; ; n++ {
			dir := t.TempDir()
			crash := testkit.Crash{At: n, Persisted: persisted}
			err := initialise(dir, DefaultName, crash.Disk())
			if len(crash.Steps) < n {
				if n < 20 || err != nil {
					t.Fatalf("making an authority has %d steps, %v", len(crash.Steps), err)
				}
				break
			}
			if !errors.Is(err, testkit.ErrFault) {
				t.Errorf("fault %d (%s): %v", n, crash.Steps[n-1], err)
			}
			_ = initialise(dir, DefaultName, durable.Disk{}) // complete already, if the fault was the last step's answer
			a, err := Open(dir, time.Now)
			if err != nil {
				t.Fatalf("fault %d (%s): no authority was made: %v", n, crash.Steps[n-1], err)
			}
			testkit.Check(t, a.Close())
			before := testkit.Must(os.ReadFile(filepath.Join(dir, authorityFile)))(t)
			if err := initialise(dir, DefaultName, durable.Disk{}); err == nil {
				t.Errorf("fault %d (%s): made over an authority", n, crash.Steps[n-1])
			}
			if after := testkit.Must(os.ReadFile(filepath.Join(dir, authorityFile)))(t); string(after) != string(before) {
				t.Errorf("fault %d (%s): its key was made anew", n, crash.Steps[n-1])
			}
		}
	}
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
