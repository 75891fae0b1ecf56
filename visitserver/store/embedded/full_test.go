package embedded

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/visitserver/store"
	"github.com/kipass/kipass/visitserver/store/storetest"
)

// fillableFS has no space for tables while it is full.
type fillableFS struct {
	vfs.FS
	full *atomic.Bool
}

func (f fillableFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if f.full.Load() && filepath.Ext(name) == ".sst" {
		return nil, fmt.Errorf("create %s: %w", name, syscall.ENOSPC)
	}
	return f.FS.Create(name, category)
}

func (f fillableFS) Unwrap() vfs.FS { return f.FS }

// What was written is only in the log, so that a database flushes it into a table as it is opened. On a full disk that
// cannot be done, and Pebble would wait for it without end.
func TestAFullDiskDoesNotHoldAnOpenUp(t *testing.T) {
	disk := fillableFS{vfs.NewMem(), &atomic.Bool{}}
	logger, log := testkit.NewLogger()
	opts := Options{FS: disk, Logger: logger}
	rows := []store.Row{storetest.NewRow("door", benchDay.Start(), 1)}
	s := testkit.Must(Open("/visits", opts))(t)
	testkit.Check(t, s.Swap(t.Context(), store.Change{Table: "n", Key: "1", New: []byte{1}}))
	if _, err := s.Put(t.Context(), "cafe", benchDay, rows, nil); err != nil {
		t.Fatal(err)
	}
	testkit.Check(t, s.Close())

	disk.full.Store(true)
	if _, err := Open("/visits", opts); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("opened on a full disk: %v", err)
	}
	disk.full.Store(false)
	testkit.Eventually(t, "the store opens when there is space", func() bool {
		var err error
		s, err = Open("/visits", opts)
		return err == nil
	})
	defer func() { testkit.Check(t, s.Close()) }()
	disk.full.Store(true)
	for range 3 {
		if _, err := s.Put(t.Context(), "cafe", benchDay, rows, nil); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("put on a full disk: %v", err)
		}
	}
	if n := log.Count("level=ERROR"); n > 4 {
		t.Errorf("%d lines of errors:\n%s", n, log)
	}
	disk.full.Store(false)
	testkit.Eventually(t, "the day opens when there is space", func() bool {
		n, err := s.Put(t.Context(), "cafe", benchDay, rows, nil)
		if n != 0 {
			t.Errorf("the visit was stored again")
		}
		return err == nil
	})
}
