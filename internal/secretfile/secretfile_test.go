package secretfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
)

func TestASecretThatEverybodyMayReadIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	testkit.Check(t, os.WriteFile(path, []byte("secret"), 0o600))
	for mode, taken := range map[fs.FileMode]bool{
		0o400: true, 0o600: true, 0o640: true, 0o660: true, 0o711: true, 0o644: false, 0o604: false, 0o602: false, 0o666: false, 0o755: false,
	} {
		testkit.Check(t, os.Chmod(path, mode))
		text, err := Read(path)
		if taken && (err != nil || string(text) != "secret" || Check(path) != nil) {
			t.Errorf("mode %#o: %q, %v, %v", uint32(mode), text, err, Check(path))
		}
		if taken {
			continue
		}
		for _, err := range []error{err, Check(path)} {
			if !errors.Is(err, ErrOpen) || !strings.Contains(err.Error(), fmt.Sprintf("(mode %#o): chmod 600 %s", uint32(mode), path)) {
				t.Errorf("mode %#o: %v", uint32(mode), err)
			}
		}
	}
	testkit.Check(t, os.Chmod(path, 0o644))
	link := path + ".link"
	testkit.Check(t, os.Symlink(path, link))
	if _, err := Read(link); !errors.Is(err, ErrOpen) {
		t.Errorf("by a link: %v", err)
	}
	if _, err := Read(path + ".missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}
