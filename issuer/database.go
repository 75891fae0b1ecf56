package issuer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/kipass/kipass/internal/boltcheck"
	"github.com/kipass/kipass/internal/durable"
)

// lockTimeout is how long a second process waits for the first to close a file.
const lockTimeout = time.Second

// database is an open bbolt file. All of it was looked at before bbolt opened it; a fault on what changed since is an error
// wrapping [boltcheck.ErrDamaged], and ends its use.
type database struct {
	db     *bbolt.DB
	file   *os.File
	begin  sync.Mutex  // held while a transaction begins: one that faults there leaves bbolt locked for the next
	broken atomic.Bool // a transaction has faulted

	queue  sync.Mutex // guards calls
	calls  []*call    // that wait for the commit after the one in progress
	commit sync.Mutex // held while one is in progress
}

// call is a change that waits for a commit.
type call struct {
	change func(*bbolt.Tx) error
	done   bool // under database.commit, as err
	err    error
}

// openDatabase opens a file with exactly these buckets. One that does not hold together gives an error wrapping
// [boltcheck.ErrDamaged], one that is not there fs.ErrNotExist. torn is as of [boltcheck.Check].
func openDatabase(path string, buckets ...[]byte) (d *database, torn string, err error) {
	if torn, err = boltcheck.Check(path, buckets...); err != nil {
		return nil, "", fmt.Errorf("opening %s: %w", path, err)
	}
	db, file, err := boltcheck.Open(path, bbolt.Options{Timeout: lockTimeout})
	if err != nil {
		return nil, "", err
	}
	return &database{db: db, file: file}, torn, nil
}

// makeDatabase makes an empty file with these buckets, durably. It is there whole or not at all.
func makeDatabase(disk durable.Disk, path string, buckets ...[]byte) error {
	unfinished := durable.Scratch(path)
	if err := os.Remove(unfinished); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing an unfinished database: %w", err)
	}
	db, file, err := boltcheck.Open(unfinished, bbolt.Options{Timeout: lockTimeout})
	if err != nil {
		return err
	}
	d := &database{db: db, file: file}
	err = d.update(func(tx *bbolt.Tx) error {
		for _, b := range buckets {
			if _, err := tx.CreateBucket(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err = errors.Join(err, d.close()); err == nil {
		err = disk.Rename(unfinished, path)
	}
	if err != nil {
		return fmt.Errorf("making %s: %w", path, err)
	}
	return nil
}

// check reads the whole file again, as it lies on the disk. Changes wait meanwhile. torn is as of [boltcheck.Check].
func (d *database) check(path string, buckets ...[]byte) (torn string, err error) {
	d.commit.Lock()
	defer d.commit.Unlock()
	if torn, err = boltcheck.Check(path, buckets...); err != nil {
		return "", fmt.Errorf("checking %s: %w", path, err)
	}
	return torn, nil
}

// view runs f in a transaction that changes nothing.
func (d *database) view(f func(*bbolt.Tx) error) error { return d.run(false, f) }

// update makes a change and returns when it is durable. Changes that come together are committed together; none may fail but
// for what fails the others too.
func (d *database) update(change func(*bbolt.Tx) error) error {
	c := &call{change: change}
	d.queue.Lock()
	d.calls = append(d.calls, c)
	d.queue.Unlock()
	d.commit.Lock()
	defer d.commit.Unlock()
	if c.done {
		return c.err
	}
	d.queue.Lock()
	calls := d.calls
	d.calls = nil
	d.queue.Unlock()
	err := d.run(true, func(tx *bbolt.Tx) error {
		for _, c := range calls {
			if err := c.change(tx); err != nil {
				return err
			}
		}
		return nil
	})
	for _, c := range calls {
		c.done, c.err = true, err
	}
	return err
}

func (d *database) run(writable bool, f func(*bbolt.Tx) error) error {
	tx, err := d.start(writable)
	if err != nil {
		return err
	}
	return d.catch(func() error {
		defer func() { _ = tx.Rollback() }() // does nothing after a commit
		if err := f(tx); err != nil || !writable {
			return err
		}
		return tx.Commit()
	})
}

func (d *database) start(writable bool) (tx *bbolt.Tx, err error) {
	d.begin.Lock()
	defer d.begin.Unlock()
	if d.broken.Load() {
		return nil, boltcheck.ErrFault
	}
	err = d.catch(func() (err error) {
		tx, err = d.db.Begin(writable)
		return err
	})
	return tx, err
}

func (d *database) catch(f func() error) error {
	err := boltcheck.Catch(f)
	if errors.Is(err, boltcheck.ErrFault) {
		d.broken.Store(true)
	}
	return err
}

// close waits for the transactions in progress, unless one has faulted.
func (d *database) close() error { return boltcheck.Close(d.db, d.file, d.broken.Load()) }
