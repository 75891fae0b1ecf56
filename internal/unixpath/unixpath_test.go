package unixpath

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
)

func TestASocketFarDownIsReached(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("a", 200), strings.Repeat("b", 200))
	testkit.Check(t, os.MkdirAll(dir, 0o700))
	path := filepath.Join(dir, "admin.sock")
	if _, err := net.Listen("unix", path); err == nil {
		t.Fatal("its path is not too long")
	}
	short, release, err := Short(path)
	testkit.Check(t, err)
	l := testkit.Must(net.Listen("unix", short))(t)
	defer l.Close()
	if info := testkit.Must(os.Stat(path))(t); info.Mode()&os.ModeSocket == 0 {
		t.Errorf("%s is %v", path, info.Mode())
	}
	other, done, err := Short(path)
	testkit.Check(t, err)
	c := testkit.Must(net.Dial("unix", other))(t)
	testkit.Check(t, c.Close())
	testkit.Check(t, done())
	testkit.Check(t, l.Close())
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
	testkit.Check(t, release())
	if _, _, err := Short(filepath.Join(dir, "missing", "admin.sock")); err == nil {
		t.Error("a folder that is not there was opened")
	}
	t.Chdir(dir)
	short, release, err = Short("admin.sock")
	testkit.Check(t, err)
	testkit.Check(t, testkit.Must(net.Listen("unix", short))(t).Close())
	testkit.Check(t, release())
}
