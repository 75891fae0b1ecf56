package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/visitserver/store"
)

// damaged reports whether an error of opening or reading a database is of its content: it would be the same next time. Pebble
// marks few of its errors as such, so that all are but those of the machine and of who asks.
func damaged(err error) bool {
	var machine syscall.Errno
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, pebble.ErrNotFound), errors.Is(err, store.ErrRetired), errors.Is(err, store.ErrConflict):
		return false
	case pebble.IsCorruptionError(err), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrExist):
		return true
	case errors.As(err, &machine):
		return machine == syscall.ENOTDIR || machine == syscall.EISDIR || machine == syscall.EIO // a sector that cannot be read
	}
	return true
}

// markDamage makes an error of a day's content wrap store.ErrDamaged.
func markDamage(err error) error {
	if damaged(err) {
		return fmt.Errorf("%w: %w", store.ErrDamaged, err)
	}
	return err
}

// unreadable reports whether a look-up in a day has failed by damage. It is logged once a day of visit and run, and shown.
func (s *Store) unreadable(d day.Day, err error) bool {
	if !damaged(err) {
		return false
	}
	if s.dayOf(d).told.CompareAndSwap(false, true) {
		s.opts.Logger.Error("a day's database is damaged; visits that it cannot be asked for count as new", "day", d.String(), "error", err)
	}
	return true
}

// setAside moves a day's database, which does not open because of cause, out of the way; of one that is gone it leaves an empty
// folder there. The caller holds the day's lock.
func (s *Store) setAside(d day.Day, cause error) error {
	for n := 1; ; n++ {
		path := filepath.Join(s.asidePath(), fmt.Sprintf("%v.%d", d, n))
		if _, err := s.fs.Stat(path); err == nil {
			continue
		}
		err := s.fs.Rename(s.dayPath(d), path)
		if errors.Is(err, fs.ErrNotExist) {
			err = s.fs.MkdirAll(path, 0o700)
		}
		if err == nil {
			err = errors.Join(s.syncFolder(filepath.Dir(path)), s.syncFolder(filepath.Dir(s.dayPath(d))))
		}
		if err == nil { // from then on the folder tells
			err = s.register.Delete(dayKey('n', d), pebble.Sync)
		}
		if err != nil {
			return fmt.Errorf("setting the damaged database of %v aside: %w", d, err)
		}
		s.opts.Logger.Error("database of a day is damaged; it was set aside and another one begun",
			"day", d.String(), "path", path, "error", cause)
		return nil
	}
}

// SetAside implements store.Days.
func (s *Store) SetAside(ctx context.Context) ([]day.Day, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var days []day.Day
	names, err := s.fs.List(s.asidePath())
	if err != nil {
		return nil, fmt.Errorf("listing what was set aside: %w", err)
	}
	for _, name := range names {
		if d, ok := dayAside(name); ok {
			days = append(days, d)
		}
	}
	s.mu.Lock()
	for d, p := range s.days {
		if p.told.Load() {
			days = append(days, d)
		}
	}
	s.mu.Unlock()
	slices.Sort(days)
	return slices.Compact(days), nil
}

func (s *Store) asidePath() string { return filepath.Join(s.dir, "aside") }

// dayAside returns the day of which something was set aside under a name, DAY.N.
func dayAside(name string) (d day.Day, ok bool) {
	date, n, _ := strings.Cut(name, ".")
	d, err := day.Parse(date)
	if err == nil {
		_, err = strconv.ParseUint(n, 10, 32)
	}
	return d, err == nil
}

// dropAside removes what was set aside of a day.
func (s *Store) dropAside(d day.Day) error {
	folders, err := s.foldersAside(d)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if err := s.fs.RemoveAll(folder); err != nil {
			return err
		}
	}
	return s.syncFolder(s.asidePath())
}
