package diskspace

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/internal/testkit"
)

const mib = 1 << 20

// disk is one whose free space is what a test says, but for the ballast on it.
type disk struct {
	total   uint64
	used    atomic.Uint64
	ballast string
	fails   error
}

func (d *disk) sizes(string) (free, total uint64, err error) {
	used := d.used.Load()
	if info, err := os.Stat(d.ballast); err == nil {
		used += uint64(info.Size())
	}
	return d.total - used, d.total, d.fails
}

func (d *disk) held() bool {
	_, err := os.Stat(d.ballast)
	return err == nil
}

func TestTheBallastIsGivenUpAndTakenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		logger, log := testkit.NewLogger()
		d := &disk{total: 160 * mib, ballast: filepath.Join(dir, ballastName)} // floor and ballast are 10 MiB
		k := testkit.Must(Open(Options{Dir: dir, Sizes: d.sizes, Logger: logger}))(t)
		look := func(what string, used uint64, full, held bool) {
			t.Helper()
			d.used.Store(used)
			time.Sleep(time.Second)
			testkit.Check(t, k.Tend())
			if err := k.Check(); errors.Is(err, ErrFull) != full || err != nil && !full {
				t.Errorf("%s: %v, want full %v", what, err, full)
			}
			if d.held() != held {
				t.Errorf("%s: ballast held %v, want %v", what, d.held(), held)
			}
		}
		look("empty", 0, false, true)
		look("at the floor", 140*mib, false, true)
		look("below the floor", 141*mib, true, true)
		look("below half the floor, which the ballast makes good", 146*mib, false, false)
		look("full but for what the ballast was", 155*mib, true, false)
		look("full", 160*mib, true, false)
		look("space for the floor alone", 140*mib, false, false)
		look("space for both", 100*mib, false, true)
		if n := log.Count("the disk is full: nothing more"); n != 2 {
			t.Errorf("told %d times that it is full:\n%s", n, log)
		}
		d.fails = errors.New("input/output error")
		time.Sleep(time.Second)
		if err := k.Check(); !errors.Is(err, d.fails) || errors.Is(err, ErrFull) {
			t.Errorf("a disk that cannot be asked: %v", err)
		}
	})
}

func TestBeginningOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	d := &disk{total: 160 * mib, ballast: filepath.Join(dir, ballastName)}
	testkit.Must(Open(Options{Dir: dir, Sizes: d.sizes}))(t)
	d.used.Store(150 * mib) // all but the ballast
	k := testkit.Must(Open(Options{Dir: dir, Sizes: d.sizes}))(t)
	if d.held() {
		t.Error("the ballast was not given up")
	}
	if err := k.Check(); err != nil {
		t.Errorf("with the ballast's space: %v", err)
	}
	d.used.Store(160 * mib)
	_, err := Open(Options{Dir: dir, Sizes: d.sizes})
	if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "5120") {
		t.Errorf("without any space: %v, want what is needed and where", err)
	}
}

func TestRunLooksAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		d := &disk{total: 160 * mib, ballast: filepath.Join(dir, ballastName)}
		d.used.Store(140 * mib)
		k := testkit.Must(Open(Options{Dir: dir, Sizes: d.sizes}))(t)
		go k.Run(t.Context())
		synctest.Wait()
		d.used.Store(0)
		time.Sleep(2 * tendEvery)
		synctest.Wait()
		if !d.held() {
			t.Error("no ballast was taken when there was space")
		}
	})
}

func TestTheRealDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	free, total, err := sizes(filepath.Dir(filepath.Dir(filepath.Dir(dir))))
	if err != nil || free == 0 || free > total {
		t.Fatalf("%d of %d bytes are free, %v", free, total, err)
	}
	if free < 4*DefaultFloor {
		t.Skipf("only %d bytes are free here", free)
	}
	k := testkit.Must(Open(Options{Dir: dir}))(t)
	info := testkit.Must(os.Stat(filepath.Join(dir, ballastName)))(t)
	if uint64(info.Size()) != min(DefaultFloor, total/share) || info.Mode().Perm() != 0o600 {
		t.Errorf("ballast of %d bytes, %v", info.Size(), info.Mode())
	}
	testkit.Check(t, k.Check())
	if _, err := Free(filepath.Join(dir, "missing")); err == nil {
		t.Error("a folder that is not there has free space")
	}
}
