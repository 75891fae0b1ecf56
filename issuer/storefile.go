package issuer

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/kipass/kipass/internal/boltcheck"
	"github.com/kipass/kipass/internal/durable"
)

// storeFile is a database file that is opened when it is used. One that is found damaged, then or while it is open, is set
// aside, which is logged.
type storeFile struct {
	path    string
	buckets [][]byte
	disk    durable.Disk
	log     *slog.Logger
	lost    string // what is logged of a damaged file

	altered atomic.Bool // damage within the file was found since the start

	mu     sync.RWMutex // held for writing while the file is opened or closed
	held   *database    // nil: not open
	closed bool         // for good
}

// use runs f with the open file, and once more on what is there then if it is found damaged. Without create a file that is not
// there gives fs.ErrNotExist.
func (s *storeFile) use(create bool, f func(*database) error) error {
	for again := false; ; again = true {
		db, err := s.get(create)
		if err != nil {
			return err
		}
		err = f(db)
		if !errors.Is(err, boltcheck.ErrDamaged) || again {
			return err
		}
		s.drop(db)
	}
}

func (s *storeFile) get(create bool) (*database, error) {
	s.mu.RLock()
	db := s.held
	s.mu.RUnlock()
	if db != nil {
		return db, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != nil {
		return s.held, nil
	}
	if s.closed {
		return nil, fmt.Errorf("%s is closed: %w", s.path, fs.ErrNotExist)
	}
	db, err := s.open(create)
	s.held = db
	return db, err
}

func (s *storeFile) open(create bool) (*database, error) {
	db, torn, err := openDatabase(s.path, s.buckets...)
	if torn != "" {
		s.alter(torn)
	}
	if errors.Is(err, boltcheck.ErrDamaged) {
		if err = s.setAside(err); err == nil {
			err = fs.ErrNotExist
		}
	}
	if !errors.Is(err, fs.ErrNotExist) || !create {
		return db, err
	}
	if err := makeDatabase(s.disk, s.path, s.buckets...); err != nil {
		return nil, err
	}
	db, _, err = openDatabase(s.path, s.buckets...)
	return db, err
}

// alter notes that something in the file was lost, which is logged once a start.
func (s *storeFile) alter(what string) {
	if !s.altered.Swap(true) {
		s.log.Error("a file is damaged in part: something of what it held is lost", "path", s.path, "error", what)
	}
}

// setAside moves the file, which is damaged as cause says, out of the way.
func (s *storeFile) setAside(cause error) error {
	for n := 1; ; n++ {
		path := fmt.Sprintf("%s.damaged-%d", s.path, n)
		if _, err := os.Lstat(path); err == nil {
			continue
		}
		if err := s.disk.Rename(s.path, path); err != nil {
			return fmt.Errorf("setting a damaged file aside: %w", err)
		}
		s.log.Error(s.lost, "path", path, "error", cause)
		return nil
	}
}

// aside are the paths of what was set aside.
func (s *storeFile) aside() ([]string, error) { return filepath.Glob(s.path + ".damaged-*") }

// drop closes a database that was damaged while it was open. What is in the file is looked at when it is next used.
func (s *storeFile) drop(db *database) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != db {
		return // somebody else has met it
	}
	s.held = nil
	if err := db.close(); err != nil {
		s.log.Warn("a damaged file was not closed cleanly", "path", s.path, "error", err)
	}
}

// close closes the file for good.
func (s *storeFile) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	db := s.held
	if s.held = nil; db == nil {
		return nil
	}
	return db.close()
}
