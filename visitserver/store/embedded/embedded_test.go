package embedded

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kipass/kipass/visitserver/store"
	"github.com/kipass/kipass/visitserver/store/storetest"
)

func openIn(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t,
		func(t *testing.T) store.Store { return openIn(t, t.TempDir()) },
		func(t *testing.T, s store.Store) store.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return openIn(t, s.(*Store).dir)
		})
}

func TestOneProcessHoldsAFolder(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir)
	defer s.Close()
	if second, err := Open(dir, Options{}); err == nil {
		_ = second.Close()
		t.Fatal("a folder in use was opened again")
	}
}

func TestForeignFolderAmongTheDaysIsAnError(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir)
	defer s.Close()
	if err := os.Mkdir(filepath.Join(dir, "days", "backup"), 0o700); err != nil {
		t.Fatal(err)
	}
	if days, err := s.Days(t.Context()); err == nil {
		t.Errorf("days %v, want an error", days)
	}
}
