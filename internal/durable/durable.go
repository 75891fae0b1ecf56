// Package durable writes, replaces and destroys small files so that what a call has returned from outlives a loss of
// power, and what a crash interrupts leaves a file as it was or as it shall be, never between. It is internal because it
// promises no more than this module's own stores and programs need: small files, local disks, Linux.
//
// Each call is a row of steps (open, write, sync, rename …); [Disk.Step] lets tests play a fault at any of them.
package durable

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// scratch begins the names of files that are being written. What a crash leaves of them is removed by Sweep.
const scratch = ".new-"

// Disk does the steps; the zero Disk does them on the machine's own files. Errors are those of package os, which name
// step and path.
type Disk struct {
	// Step, if set, is given each step and whether it is done is its decision: do does it. For tests of crashes.
	Step func(name string, do func() error) error
}

func (d Disk) step(name string, do func() error) error {
	if d.Step == nil {
		return do()
	}
	return d.Step(name, do)
}

// fill writes data to f from its beginning, gives it its mode, syncs and closes it.
func (d Disk) fill(f *os.File, data []byte, mode fs.FileMode) error {
	err := d.step("write", func() error { _, err := f.WriteAt(data, 0); return err })
	if err == nil {
		err = d.step("chmod", func() error { return f.Chmod(mode) })
	}
	if err == nil {
		err = d.Sync(f)
	}
	return errors.Join(err, f.Close())
}

// Append writes to the end of a file that was opened with os.O_APPEND. It is durable after Sync; after an error or a crash
// any part of it may be there.
func (d Disk) Append(f *os.File, data []byte) error {
	return d.step("append", func() error { _, err := f.Write(data); return err })
}

// Sync makes the content of an open file durable, whoever wrote it.
func (d Disk) Sync(f *os.File) error { return d.step("sync", f.Sync) }

// Replace writes a whole file in place of one that may be there. Whoever reads meanwhile, or after a crash, finds the old
// content or the new. Two calls for one path may run at once: one of them wins.
func (d Disk) Replace(path string, data []byte, mode fs.FileMode) error {
	var f *os.File
	err := d.step("create", func() (err error) { f, err = os.CreateTemp(filepath.Dir(path), scratch); return err })
	if f != nil {
		defer os.Remove(f.Name())
	}
	if err != nil {
		return errors.Join(err, closed(f))
	}
	if err := d.fill(f, data, mode); err != nil {
		return err
	}
	return d.Rename(f.Name(), path)
}

func closed(f *os.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}

// Create writes a whole file that must not be there yet; if one is, the error wraps fs.ErrExist and that file stays
// untouched. Whatever goes wrong, there is the whole file or none: after an error none, unless it was its folder that could
// not be synced.
func (d Disk) Create(path string, data []byte, mode fs.FileMode) error {
	var f *os.File
	err := d.step("create", func() (err error) { f, err = os.CreateTemp(filepath.Dir(path), scratch); return err })
	if f != nil {
		defer os.Remove(f.Name())
	}
	if err != nil {
		return errors.Join(err, closed(f))
	}
	if err := d.fill(f, data, mode); err != nil {
		return err
	}
	if err := d.step("rename", func() error { return renameNew(f.Name(), path) }); err != nil {
		if !errors.Is(err, fs.ErrExist) {
			err = errors.Join(err, ignoreMissing(os.Remove(path)))
		}
		return err
	}
	return d.SyncDir(filepath.Dir(path))
}

// renameNew moves a file to where there is none.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // a file system that cannot
		return os.Link(from, to)
	}
	if err != nil {
		return &fs.PathError{Op: "create", Path: to, Err: err}
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Erase overwrites a file with random bytes, then removes it. A file that is not there is erased already; the call may be
// repeated after any error or crash. Flash and copy-on-write disks write elsewhere than over the old bytes: on them it is
// a matter of what the file held, see package daykey.
func (d Disk) Erase(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		err = d.overwrite(f)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return d.Remove(path)
}

func (d Disk) overwrite(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	noise := make([]byte, info.Size())
	_, _ = rand.Read(noise) // never fails: crypto/rand ends the program instead
	return d.fill(f, noise, info.Mode().Perm())
}

// Remove removes a file. One that is not there is removed already: only its folder is synced, since an earlier call may
// have ended between the two.
func (d Disk) Remove(path string) error {
	err := d.step("remove", func() error { return os.Remove(path) })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return d.SyncDir(filepath.Dir(path))
}

// Rename moves a file over another of the same folder.
func (d Disk) Rename(from, to string) error {
	if err := d.step("rename", func() error { return os.Rename(from, to) }); err != nil {
		return err
	}
	return d.SyncDir(filepath.Dir(to))
}

// SyncDir makes durable which files a folder holds.
func (d Disk) SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.step("sync folder", f.Sync), f.Close())
}

// Scratch is the path under which something else than Replace writes a file that will be renamed to path.
func Scratch(path string) string {
	return filepath.Join(filepath.Dir(path), scratch+filepath.Base(path))
}

// IsScratch reports whether a file of that name is one that is being written, or was left so.
func IsScratch(name string) bool { return strings.HasPrefix(name, scratch) }

// Sweep erases what was being written in a folder when it was interrupted. Nobody else may be writing there.
func (d Disk) Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !IsScratch(e.Name()) || e.IsDir() {
			continue
		}
		if err := d.Erase(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
