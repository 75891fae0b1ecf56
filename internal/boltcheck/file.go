package boltcheck

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// ErrFault is wrapped by the error of a call of bbolt that panicked: on bytes that changed under it, or on a page of the
// mapped file that cannot be read. bbolt's locks may still be held, so the database serves no more.
var ErrFault = fmt.Errorf("%w: the database stopped on it", ErrDamaged)

// Catch runs f and turns a panic, a memory fault on the mapped file included, into an error wrapping ErrFault. It reaches no
// other goroutine: f must not have bbolt start one, as Batch does.
func Catch(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrFault, p)
		}
	}()
	return f()
}

// Open opens a file that passed Check, or begins one, and returns the database and the file under it.
func Open(path string, opts bolt.Options) (*bolt.DB, *os.File, error) {
	var file *os.File
	var db *bolt.DB
	opts.PageSize = PageSize
	opts.OpenFile = func(name string, flag int, perm os.FileMode) (*os.File, error) {
		f, err := os.OpenFile(name, flag, perm)
		file = f
		return f, err
	}
	err := Catch(func() (err error) {
		db, err = bolt.Open(path, 0o600, &opts)
		return err
	})
	if errors.Is(err, ErrFault) && file != nil {
		_ = abandon(file)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return db, file, nil
}

// Close closes db. After a fault bbolt may hold its own locks for ever; then the file is abandoned.
func Close(db *bolt.DB, file *os.File, faulted bool) error {
	if faulted {
		return abandon(file)
	}
	if err := Catch(db.Close); err != nil {
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
