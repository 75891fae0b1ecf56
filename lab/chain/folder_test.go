package chain

import (
	"os"
	"path/filepath"
	"testing"
)

// A folder the user names belongs to the user: it is made if need be, refused if something lies in it, and kept.
func TestAFolderTheUserNames(t *testing.T) {
	dir := t.TempDir()
	full := filepath.Join(dir, "full")
	precious := filepath.Join(full, "precious")
	if err := os.Mkdir(full, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(precious, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		dir string
		ok  bool
	}{
		"new":              {filepath.Join(dir, "a", "b"), true},
		"empty":            {t.TempDir(), true},
		"with something":   {full, false},
		"a file":           {precious, false},
		"beneath a file":   {filepath.Join(precious, "c"), false},
		"may not be made":  {"/proc/kipass-lab", false},
		"path of nothing?": {filepath.Join(dir, "\x00"), false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := takeDir(c.dir)
			if (err == nil) != c.ok || c.ok && got != c.dir {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
	t.Chdir(dir)
	if got, err := takeDir("here"); err != nil || got != filepath.Join(dir, "here") {
		t.Errorf("a relative path became %q, %v", got, err)
	}
}

func TestARunKeepsTheFolderItWasGiven(t *testing.T) {
	t.Parallel()
	bin := programs(t)
	dir := filepath.Join(t.TempDir(), "run")
	if _, err := Run(t.Context(), Options{Bin: bin, Dir: dir, Seed: 1, Scans: 2}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "kipass-gate.log")); err != nil {
		t.Error(err)
	}
}
