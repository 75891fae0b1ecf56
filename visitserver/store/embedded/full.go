package embedded

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble tries what fails in the background again at once and for ever, and waits for it as it opens a database. On a full
// disk that is a loop without a pause and an Open that does not return. So the next table is begun a second after one that
// failed for want of space, and an Open that meets such a failure is left to itself: it is asked for again by the next
// caller, who finds it done when there is space.

// fullPause is how long after a write that found no space the next table is begun.
const fullPause = time.Second

func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// fullDisk knows when a write in the background last found no space.
type fullDisk struct {
	at   atomic.Pointer[time.Time]
	seen chan struct{} // delivers after such a write; buffered
}

func newFullDisk() *fullDisk { return &fullDisk{seen: make(chan struct{}, 1)} }

func (d *fullDisk) note() {
	now := time.Now()
	d.at.Store(&now)
	select {
	case d.seen <- struct{}{}:
	default:
	}
}

// patientFS begins tables with a pause while the disk is full.
type patientFS struct {
	vfs.FS
	disk *fullDisk
}

func (f patientFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if at := f.disk.at.Load(); at != nil && filepath.Ext(name) == ".sst" {
		time.Sleep(fullPause - time.Since(*at))
	}
	return f.FS.Create(name, category)
}

// Unwrap lets Pebble find the file system below.
func (f patientFS) Unwrap() vfs.FS { return f.FS }

// opening is a database that is being opened.
type opening struct {
	done chan struct{}
	db   *pebble.DB
	err  error
	disk *fullDisk
}

// openDB opens a database, making it if need be, which must hold that many visits at least. On a full disk it returns an error
// wrapping syscall.ENOSPC and goes on opening.
func (s *Store) openDB(path string, spoilt *atomic.Bool, least uint64) (*pebble.DB, error) {
	if err := s.makeFolder(path); err != nil {
		return nil, err
	}
	s.mu.Lock()
	o := s.opening[path]
	if o == nil {
		o = &opening{done: make(chan struct{}), disk: newFullDisk()}
		s.opening[path] = o
		go s.finish(path, o, spoilt, least)
	}
	s.mu.Unlock()
	select {
	case <-o.done:
	case <-o.disk.seen:
		return nil, fmt.Errorf("opening %s: %w", path, syscall.ENOSPC)
	}
	s.mu.Lock()
	delete(s.opening, path)
	s.mu.Unlock()
	if o.err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, o.err)
	}
	return o.db, nil
}

// finish opens a database for whoever waits, or closes it again if the store was closed meanwhile.
func (s *Store) finish(path string, o *opening, spoilt *atomic.Bool, least uint64) {
	if o.err = s.verify(path, least); o.err == nil {
		o.db, o.err = pebble.Open(path, s.options(o.disk, spoilt))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	close(o.done)
	if s.closed && o.err == nil {
		_ = o.db.Close()
	}
}

// background is told of what fails in the background.
func (s *Store) background(disk *fullDisk, err error) {
	if isFull(err) {
		disk.note()
	}
	s.logLimited("background", err.Error())
}

// logLimited logs what a database complains about, of each kind once a minute.
func (s *Store) logLimited(kind, text string) {
	if ok, skipped := s.limit.Allow(kind); ok {
		s.opts.Logger.Error("store", "error", text, "count", skipped+1)
	}
}
