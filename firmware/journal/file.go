package journal

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/visit"
)

// errElsewhere: the file is sound but holds the visits of another facility or gate.
var errElsewhere = errors.New("journal belongs to another place")

// Endings of files set aside.
const (
	damagedSuffix   = ".damaged"
	elsewhereSuffix = ".elsewhere"
)

func (j *Journal) path(name string) string { return filepath.Join(j.opt.Dir, name) }

// load opens the journal file or begins one. What cannot be used is set aside first. The caller holds
// pen and swap, or is Open.
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
		return fmt.Errorf("opening journal: %w", err)
	}
	if err := j.begin(); err != nil {
		return err
	}
	return j.openFile()
}

// openFile opens the journal file after checking all of it. An absent or empty file gives fs.ErrNotExist.
func (j *Journal) openFile() error {
	path := j.path(fileName)
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
	db, file, err := openBolt(path, j.opt.MaxSize+reserve, false)
	if err != nil {
		return err
	}
	var c content
	err = guard(func() error {
		return db.View(func(tx *bolt.Tx) error {
			c, err = readContent(tx)
			j.size = tx.Size()
			return err
		})
	})
	if err == nil && (c.facility != j.opt.Facility || c.gate != j.opt.Gate) {
		err = fmt.Errorf("%w: it is of gate %q at %q, this is gate %q at %q", errElsewhere, c.gate, c.facility, j.opt.Gate, j.opt.Facility)
	}
	if err == nil && c.altered != "" {
		err = guard(func() error {
			return j.opt.sys.update(db, func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyState, c.state.encode()) })
		})
	}
	if err != nil {
		_ = closeBolt(db, file, errors.Is(err, errPanic))
		return err
	}
	if torn != "" {
		j.report(torn)
	}
	if c.altered != "" {
		j.report(c.altered)
	}
	j.db, j.file = db, file
	j.RaiseTimeFloor(c.state.floorTime())
	j.mu.Lock()
	j.state = c.state
	j.mu.Unlock()
	return nil
}

// openBolt returns the database and the file under it.
func openBolt(path string, maxSize int64, scratch bool) (*bolt.DB, *os.File, error) {
	var file *os.File
	var db *bolt.DB
	err := guard(func() (err error) {
		db, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout: lockTimeout, PageSize: pageSize, InitialMmapSize: initialMap, MaxSize: int(maxSize), NoSync: scratch,
			OpenFile: func(name string, flag int, perm os.FileMode) (*os.File, error) {
				f, err := os.OpenFile(name, flag, perm)
				file = f
				return f, err
			},
		})
		return err
	})
	if errors.Is(err, errPanic) && file != nil {
		_ = abandon(file)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return db, file, nil
}

// closeBolt closes db. After a panic bbolt may hold its own locks for ever; then the file is abandoned.
func closeBolt(db *bolt.DB, file *os.File, panicked bool) error {
	if panicked {
		return abandon(file)
	}
	if err := guard(db.Close); err != nil {
		return errors.Join(err, abandon(file))
	}
	return nil
}

// abandon unlocks and closes the file under a database that cannot be closed. Its mapping stays until the process ends,
// and would keep the file's lock as long.
func abandon(file *os.File) error {
	err := unix.Flock(int(file.Fd()), unix.LOCK_UN)
	return errors.Join(err, file.Close())
}

// closeFile closes the journal's file. swap must be held.
func (j *Journal) closeFile(panicked bool) error {
	if j.db == nil {
		return nil
	}
	db, file := j.db, j.file
	j.db, j.file = nil, nil
	if err := closeBolt(db, file, panicked); err != nil {
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

// begin makes an empty journal under a new identity, durably, in place of what is there.
func (j *Journal) begin() error {
	s := state{floor: j.floor.Load()}
	if _, err := rand.Read(s.id[:]); err != nil {
		return fmt.Errorf("beginning a journal: %w", err)
	}
	s.tail.Chain = visit.Genesis(s.id)
	s.head = s.tail
	db, file, err := openBolt(j.path(newName), j.opt.MaxSize+reserve, false)
	if err != nil {
		return fmt.Errorf("beginning a journal: %w", err)
	}
	err = guard(func() error {
		return db.Update(func(tx *bolt.Tx) error {
			for _, name := range [][]byte{bucketMeta, bucketEpochs, bucketRecords, bucketQuarantine} {
				if _, err := tx.CreateBucket(name); err != nil {
					return err
				}
			}
			meta := tx.Bucket(bucketMeta)
			if err := meta.Put(keyPlace, encodePlace(j.opt.Facility, j.opt.Gate)); err != nil {
				return err
			}
			return meta.Put(keyState, s.encode())
		})
	})
	err = errors.Join(err, closeBolt(db, file, errors.Is(err, errPanic)))
	if err == nil {
		err = j.opt.sys.rename(j.path(newName), j.path(fileName))
	}
	if err == nil {
		err = j.opt.sys.syncDir(j.opt.Dir)
	}
	if err != nil {
		return fmt.Errorf("beginning a journal: %w", err)
	}
	j.log.Info("journal begun", "journal", s.id.String())
	j.suspect = nil
	j.keepMark(s.id)
	return nil
}

// rewrite copies what the journal holds into a new file, flushes it and puts it in the old one's place. It gives free
// pages back, and makes certain that what is read is on the device.
func (j *Journal) rewrite() error {
	err := j.copyTo(j.path(newName))
	if err == nil {
		if err = j.opt.sys.rename(j.path(newName), j.path(fileName)); err != nil {
			j.suspect = err // the file in use may no longer be the one that is found at the next start
		}
	}
	if err != nil {
		_ = os.Remove(j.path(newName))
		if isFull(err) {
			err = fmt.Errorf("%w: %w", ErrFull, err)
		}
		return fmt.Errorf("rewriting journal: %w", err)
	}
	syncErr := j.opt.sys.syncDir(j.opt.Dir)
	j.swap.Lock()
	defer j.swap.Unlock()
	if err := j.closeFile(false); err != nil {
		j.log.Warn("journal file not closed cleanly", "error", err)
	}
	// From here on the old file is gone for this process. Until the directory is flushed it may come back after a power
	// cut, so nothing may be acknowledged on the new one.
	if err := errors.Join(syncErr, j.openFile()); err != nil {
		j.suspect = err
		j.sealing = nil
		return fmt.Errorf("rewriting journal: %w", err)
	}
	return nil
}

func (j *Journal) copyTo(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dst, file, err := openBolt(path, j.opt.MaxSize+reserve, true)
	if err != nil {
		return err
	}
	err = guard(func() error {
		if err := bolt.Compact(dst, j.db, 1<<20); err != nil {
			return err
		}
		return file.Sync()
	})
	return errors.Join(err, closeBolt(dst, file, errors.Is(err, errPanic)))
}

// setAside renames the journal file so that nothing uses it and nothing deletes it.
func (j *Journal) setAside(suffix string, cause error) error {
	stem := "journal-" + j.opt.Now().UTC().Format("20060102T150405Z")
	name := stem + suffix
	for n := 2; ; n++ {
		if _, err := os.Lstat(j.path(name)); errors.Is(err, fs.ErrNotExist) {
			break
		}
		name = fmt.Sprintf("%s-%d%s", stem, n, suffix)
	}
	err := j.opt.sys.rename(j.path(fileName), j.path(name))
	if err == nil {
		err = j.opt.sys.syncDir(j.opt.Dir)
	}
	if err != nil {
		return fmt.Errorf("setting the journal aside: %w", err)
	}
	j.report(fmt.Sprintf("set aside as %s: %v", name, cause))
	return nil
}

// asides returns the paths of files set aside, oldest first.
func (j *Journal) asides() []string {
	entries, err := os.ReadDir(j.opt.Dir)
	if err != nil {
		return nil
	}
	var paths []string
	for _, e := range entries {
		if n := e.Name(); strings.HasPrefix(n, "journal-") && (strings.HasSuffix(n, damagedSuffix) || strings.HasSuffix(n, elsewhereSuffix)) {
			paths = append(paths, j.path(n))
		}
	}
	return paths
}

func (j *Journal) report(what string) {
	j.log.Warn("journal", "damage", what)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.damage = what
}

// readMark returns the identity of the journal last used here, empty if none is known.
func (j *Journal) readMark() string {
	b, err := os.ReadFile(j.path(markName))
	if err != nil {
		return ""
	}
	id, err := hex.DecodeString(string(bytes.TrimSpace(b)))
	if err != nil || len(id) != len(visit.JournalID{}) {
		return ""
	}
	return hex.EncodeToString(id)
}

// keepMark writes the mark. Without it only a vanished journal goes unnoticed, so the journal works on.
func (j *Journal) keepMark(id visit.JournalID) {
	if err := j.writeMark(id); err != nil {
		j.log.Warn("journal goes on without its mark", "error", err)
	}
}

func (j *Journal) writeMark(id visit.JournalID) error {
	tmp := j.path(markName + ".new")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = fmt.Fprintln(f, id)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err == nil {
		err = os.Rename(tmp, j.path(markName))
	}
	if err != nil {
		return fmt.Errorf("writing the journal's mark: %w", err)
	}
	return j.opt.sys.syncDir(j.opt.Dir)
}

// encodePlace writes facility and gate, each after a length byte.
func encodePlace(f visit.Facility, g visit.Gate) []byte {
	b := append([]byte{byte(len(f))}, f...)
	return append(append(b, byte(len(g))), g...)
}

func decodePlace(b []byte) (visit.Facility, visit.Gate, error) {
	f, rest, ok := cutField(b)
	g, rest, ok2 := cutField(rest)
	if !ok || !ok2 || len(rest) > 0 {
		return "", "", fmt.Errorf("%w: no place", errDamaged)
	}
	return visit.Facility(f), visit.Gate(g), nil
}

// cutField returns the bytes after a length byte and what follows them.
func cutField(b []byte) (field, rest []byte, ok bool) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return nil, nil, false
	}
	n := 1 + int(b[0])
	return b[1:n], b[n:], true
}
