package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/internal/boltcheck"
)

// errElsewhere: the file is sound but holds the visits of another facility or gate.
var errElsewhere = errors.New("journal belongs to another place")

func (j *Journal) path(name string) string { return filepath.Join(j.opts.Dir, name) }

// load opens the journal file or begins one. What cannot be used is set aside first. The caller holds
// writeSem and swap, or is Open.
func (j *Journal) load() error {
	if err := os.Remove(j.path(newName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing an unfinished journal: %w", err)
	}
	mark := j.readMark()
	err := j.openFile()
	switch {
	case err == nil:
		if mark != j.state.id.String() {
			if mark != "" {
				j.report(fmt.Sprintf("the journal found is %v, the one last used here was %s: was an older copy put back?", j.state.id, mark))
			}
			j.keepMark(j.state.id)
		}
		return nil
	case errors.Is(err, fs.ErrNotExist):
		if mark != "" {
			j.report(fmt.Sprintf("the file of journal %s is missing or empty; a fresh one was begun", mark))
		}
	case errors.Is(err, errDamaged):
		if err := j.setAside(damagedSuffix, err); err != nil {
			return err
		}
	case errors.Is(err, errElsewhere):
		if err := j.setAside(elsewhereSuffix, err); err != nil {
			return err
		}
	default:
		return err
	}
	if err := j.begin(); err != nil {
		return err
	}
	return j.openFile()
}

// openFile opens the journal file after checking all of it. An absent or empty file gives fs.ErrNotExist.
func (j *Journal) openFile() error {
	path := j.filePath
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		return fmt.Errorf("%s is empty: %w", path, fs.ErrNotExist)
	}
	torn, err := checkFile(path)
	if err != nil {
		return err
	}
	db, file, err := openBolt(path, j.opts.MaxSize+reserve, false)
	if err != nil {
		return err
	}
	var c content
	err = catchPanic(func() error {
		return db.View(func(tx *bolt.Tx) error {
			c, err = readContent(tx)
			j.size = tx.Size()
			return err
		})
	})
	if err == nil && (c.facility != j.opts.Facility || c.gate != j.opts.Gate) {
		err = fmt.Errorf("%w: it is of gate %q at %q, this is gate %q at %q", errElsewhere, c.gate, c.facility, j.opts.Gate, j.opts.Facility)
	}
	if err == nil && c.altered != "" {
		err = catchPanic(func() error {
			return j.opts.System.Update(db, c.amend)
		})
	}
	var held inode
	if err == nil {
		held, err = identify(func(st *unix.Stat_t) error { return unix.Fstat(int(file.Fd()), st) })
	}
	if err != nil {
		_ = boltcheck.Close(db, file, errors.Is(err, errPanic))
		return err
	}
	if torn != "" {
		j.report(torn)
	}
	if c.altered != "" {
		j.report(c.altered)
	}
	j.db, j.file, j.held = db, file, held
	j.floor.CompareAndSwap(0, c.state.floor) // at the start; later this process knows better
	_, live := j.fill()
	j.mu.Lock()
	j.state, j.live = c.state, live
	j.mu.Unlock()
	return nil
}

// checkInPlace returns an error if the file in use is no longer the one that would be found at the next start: it was
// removed, or another put in its place, which is set aside. What it holds must then be written anew.
func (j *Journal) checkInPlace() error {
	found, err := identify(func(st *unix.Stat_t) error { return unix.Stat(j.filePath, st) })
	switch {
	case err == nil && found == j.held:
		return nil
	case err == nil:
		err = errors.New("another file was put in the journal's place")
		return errors.Join(err, j.setAside(elsewhereSuffix, err))
	case errors.Is(err, fs.ErrNotExist):
		j.report("the journal's file was removed while it was in use, and written anew")
	}
	return err
}

// inode is what tells one file from another while either is held open.
type inode struct{ device, number uint64 }

func identify(stat func(*unix.Stat_t) error) (inode, error) {
	var st unix.Stat_t
	err := stat(&st)
	for err == unix.EINTR {
		err = stat(&st)
	}
	if err != nil {
		return inode{}, fmt.Errorf("looking for the journal's file: %w", err)
	}
	return inode{uint64(st.Dev), uint64(st.Ino)}, nil
}

// openBolt returns the database and the file under it.
func openBolt(path string, maxSize int64, scratch bool) (*bolt.DB, *os.File, error) {
	db, file, err := boltcheck.Open(path, bolt.Options{
		Timeout: lockTimeout, InitialMmapSize: initialMap, MaxSize: int(maxSize), NoSync: scratch,
	})
	return db, file, markDamage(err)
}

// closeFile closes the journal's file. swap must be held.
func (j *Journal) closeFile(panicked bool) error {
	if j.db == nil {
		return nil
	}
	db, file := j.db, j.file
	j.db, j.file = nil, nil
	if err := boltcheck.Close(db, file, panicked); err != nil {
		return fmt.Errorf("closing journal: %w", err)
	}
	return nil
}

// reload closes the file and opens what is on the disk.
func (j *Journal) reload(panicked bool) error {
	j.swap.Lock()
	defer j.swap.Unlock()
	if err := j.closeFile(panicked); err != nil {
		j.log.Warn("journal file not closed cleanly", "error", err)
	}
	return j.load()
}
