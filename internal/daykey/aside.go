package daykey

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kipass/kipass/protocol/day"
)

const (
	// aside stands between the name of a damaged key file that was set aside and a number.
	aside = suffix + ".damaged-"
	// checkFile tells whether a master key is the one of this folder.
	checkFile  = "master.check"
	checkLabel = "kipass day key check v1"
)

// ErrMaster is returned by Open for a master key that is not the one of the folder.
var ErrMaster = errors.New("the master key is not the one that these day keys were made under")

// checkMaster refuses a master key that is not the folder's: every key would look damaged under it, and be set aside. The
// check file proves the master key, and so does any day key that opens; a folder without either takes the one it is given.
// That the file cannot be written, as on a full disk, does not matter to what the folder is for.
func (r *Ring[K]) checkMaster() error {
	path := filepath.Join(r.dir, checkFile)
	wrapped, err := os.ReadFile(path)
	if err == nil {
		if _, err = r.wrap.Open(nil, nil, wrapped, []byte(checkLabel)); err == nil {
			return nil
		}
	}
	proven := false
	for d := range r.days {
		_, err := r.read(d)
		proven = proven || err == nil
	}
	if !proven && (len(r.days) > 0 || len(wrapped) > 0) {
		return fmt.Errorf("%s: %w", r.dir, ErrMaster)
	}
	_ = r.disk.Replace(path, r.wrap.Seal(nil, nil, nil, []byte(checkLabel)), 0o600)
	return nil
}

// setAside takes the day's key file, which does not open, out of the way. The caller holds mu.
func (r *Ring[K]) setAside(d day.Day) error {
	for n := 1; ; n++ {
		path := fmt.Sprintf("%s%d", filepath.Join(r.dir, d.String()+aside), n)
		if _, err := os.Lstat(path); err == nil {
			continue
		}
		if err := r.disk.Rename(r.path(d), path); err != nil {
			return fmt.Errorf("setting the damaged key of %v aside: %w", d, err)
		}
		r.aside[d] = true
		if r.Damaged != nil {
			r.Damaged(d, path)
		}
		return nil
	}
}

// SetAside lists the days of which a damaged key file was set aside, oldest first.
func (r *Ring[K]) SetAside() ([]day.Day, error) {
	files, err := r.asideFiles()
	if err != nil {
		return nil, err
	}
	var days []day.Day
	for d := range files {
		days = append(days, d)
	}
	slices.Sort(days)
	return days, nil
}

// Unreadable lists the days of which a key file, the one in use or one that was set aside, does not open, oldest first. What
// was sealed under it is lost, unless the file is put right. The files are read anew each time.
func (r *Ring[K]) Unreadable() ([]day.Day, error) {
	r.mu.RLock() // keeps keys that are being destroyed, whose files are overwritten first, from looking damaged
	defer r.mu.RUnlock()
	files, err := r.asideFiles()
	if err != nil {
		return nil, err
	}
	for d := range r.days {
		files[d] = append(files[d], r.path(d))
	}
	var days []day.Day
	for d, paths := range files {
		for _, path := range paths {
			wrapped, err := os.ReadFile(path)
			if err == nil {
				_, err = r.open(d, wrapped)
			}
			if errors.Is(err, ErrDamaged) {
				days = append(days, d)
				break
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("reading a day key: %w", err)
			}
		}
	}
	slices.Sort(days)
	return days, nil
}

// asideFiles returns the paths of what was set aside, by day.
func (r *Ring[K]) asideFiles() (map[day.Day][]string, error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return nil, fmt.Errorf("listing days: %w", err)
	}
	files := map[day.Day][]string{}
	for _, e := range entries {
		name, _, ok := strings.Cut(e.Name(), aside)
		if !ok {
			continue
		}
		if d, err := day.Parse(name); err == nil {
			files[d] = append(files[d], filepath.Join(r.dir, e.Name()))
		}
	}
	return files, nil
}

// Keys returns all keys of a day that open: the one in use, then those of files that were set aside and have been put
// right, from a backup, since. Data sealed before a file was damaged opens under those alone. Errors wrap [ErrNoKey] if
// the day has no file, and [ErrDamaged] if it has and none opens.
func (r *Ring[K]) Keys(d day.Day) ([]K, error) {
	var keys []K
	k, first := r.Key(d)
	switch {
	case first == nil:
		keys = append(keys, k)
	case !errors.Is(first, ErrNoKey) && !errors.Is(first, ErrDamaged):
		return nil, first
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	files := map[day.Day][]string{}
	if r.aside[d] {
		var err error
		if files, err = r.asideFiles(); err != nil {
			return nil, err
		}
	}
	for _, path := range files[d] {
		wrapped, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) { // destroyed meanwhile
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading a day key: %w", err)
		}
		if k, err := r.open(d, wrapped); err == nil {
			keys = append(keys, k)
		} else {
			first = err
		}
	}
	if len(keys) == 0 {
		return nil, first
	}
	return keys, nil
}
