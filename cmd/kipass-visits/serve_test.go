package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/visitserver"
)

func TestAFolderWithoutAServerIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	err := serve(t.Context(), visitserver.Folder{Dir: dir}, "127.0.0.1:0", slog.New(slog.DiscardHandler), io.Discard)
	if err == nil {
		t.Error("a server that was never made runs")
	}
	if left := testkit.Must(os.ReadDir(dir))(t); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestTheOperatorsSocketIsForTheOperatorAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	// A server that was killed leaves its socket, of whatever mode, or what looks like it.
	testkit.Check(t, os.WriteFile(path, []byte("left"), 0o644))
	l := testkit.Must(listenUnix(path))(t)
	if info := testkit.Must(os.Stat(path))(t); info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("socket is %v", info.Mode())
	}
	testkit.Check(t, l.Close())
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket outlives its listener")
	}
	if _, err := listenUnix(filepath.Join(path, "missing", "admin.sock")); err == nil || !strings.Contains(err.Error(), "listening for the operator") {
		t.Errorf("in a folder that is not there: %v", err)
	}
}
