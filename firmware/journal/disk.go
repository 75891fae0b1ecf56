package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/internal/boltcheck"
	"github.com/kipass/kipass/internal/diskspace"
	"github.com/kipass/kipass/internal/durable"
)

// Files of a journal's directory.
const (
	fileName = "journal.db"   // the journal
	newName  = "journal.new"  // a journal being written, to be renamed; left over after a crash
	markName = "journal.mark" // the identity of the journal that should be there
	lockName = "journal.lock" // held with flock while a journal is open
)

const (
	lockTimeout = time.Second
	spaceEvery  = 50 * time.Millisecond // how long a reading of free space holds
	reserve     = 32 << 20              // bytes the file may grow beyond MaxSize, so that a full journal can still be settled
	tidyLive    = 1 << 20               // bytes that are copied without holding up an append for long
	initialMap  = 1 << 20               // bytes mapped at first: early growth then needs no new mapping
)

// System has the calls to the machine whose failure has consequences of its own. The zero System makes them; another one
// plays faults, for tests and simulations.
type System struct {
	Update func(*bolt.DB, func(*bolt.Tx) error) error // commits; default (*bolt.DB).Update
	Disk   durable.Disk                               // replaces and removes whole files
	Free   func(dir string) (uint64, error)           // bytes free for this user
}

func (s *System) setDefaults() {
	if s.Update == nil {
		s.Update = (*bolt.DB).Update
	}
	if s.Free == nil {
		s.Free = diskspace.Free
	}
}

// lockDir takes the directory's lock, for one writer or many readers. The lock is a file of its own because the journal file
// is exchanged by rename.
func lockDir(dir string, exclusive bool) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the journal's lock: %w", err)
	}
	how := unix.LOCK_SH
	if exclusive {
		how = unix.LOCK_EX
	}
	for deadline := time.Now().Add(lockTimeout); ; time.Sleep(20 * time.Millisecond) {
		err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			break
		}
		if time.Now().After(deadline) {
			err = ErrLocked
			break
		}
	}
	_ = f.Close()
	return nil, fmt.Errorf("locking journal in %s: %w", dir, err)
}

// catchPanic is [boltcheck.Catch] with the journal's errors.
func catchPanic(f func() error) error { return markDamage(boltcheck.Catch(f)) }

// checkFile says what is torn in the journal file at path, see [boltcheck.Check]. Errors wrap errDamaged where the file
// cannot go on being used.
func checkFile(path string) (torn string, err error) {
	torn, err = boltcheck.Check(path, bucketMeta, bucketEpochs, bucketRecords, bucketSettled, bucketQuarantine)
	return torn, markDamage(err)
}

// markDamage makes what boltcheck says of a file errPanic or errDamaged.
func markDamage(err error) error {
	switch {
	case errors.Is(err, boltcheck.ErrFault):
		return fmt.Errorf("%w: %w", errPanic, err)
	case errors.Is(err, boltcheck.ErrDamaged):
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return err
}

func damagef(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errDamaged, fmt.Sprintf(format, args...))
}

// isFull tells whether err says that no more can be written. bbolt passes the cause of a failed growth on as text only.
func isFull(err error) bool {
	if errors.Is(err, bolterrors.ErrMaxSizeReached) {
		return true
	}
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, e) || strings.HasSuffix(err.Error(), e.Error()) {
			return true
		}
	}
	return false
}

// beforeFlush tells whether a commit failed before anything was flushed: while the file grew or was written to. What was
// committed earlier is then as durable as it was.
func beforeFlush(err error) bool {
	var write *fs.PathError
	return errors.Is(err, bolterrors.ErrMaxSizeReached) || errors.As(err, &write) && write.Op == "write" ||
		strings.HasPrefix(err.Error(), "file resize error")
}

// checkSpace tells whether an append may use more disk. What is kept of delivered records yields to it. The caller holds
// writeSem.
func (j *Journal) checkSpace() error {
	err := j.measure()
	if errors.Is(err, ErrFull) && j.state.kept() > 0 {
		if err = j.makeRoom(); err == nil {
			err = j.measure()
		}
	}
	return err
}

func (j *Journal) measure() error {
	_, live := j.fill()
	if time.Since(j.spaceRead) < spaceEvery {
		return j.spaceFor(math.MaxUint64, live)
	}
	free, err := j.opts.System.Free(j.opts.Dir)
	if err != nil {
		return err
	}
	if err := j.spaceFor(free, live); err != nil {
		return err
	}
	j.spaceRead = time.Now()
	return nil
}

func (j *Journal) spaceFor(free uint64, live int64) error {
	if free < j.opts.FreeFloor {
		return fmt.Errorf("%w: %d bytes of disk are free, %d are to be left", ErrFull, free, j.opts.FreeFloor)
	}
	if live > j.opts.MaxSize {
		return fmt.Errorf("%w: the file holds %d bytes, at most %d", ErrFull, live, j.opts.MaxSize)
	}
	return nil
}

// fill returns the bytes of the file in use up to its highest page, and how many of them are not free. The
// caller holds writeSem.
func (j *Journal) fill() (size, live int64) {
	if j.db == nil {
		return 0, 0
	}
	s := j.db.Stats()
	return j.size, j.size - int64(s.FreePageN+s.PendingPageN)*boltcheck.PageSize
}
