package issuer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/token"
)

// A day's file holds the issue log of that day and a copy of the identity of everyone who was given a code on it, both
// sealed under the day's key and found by blinded keys. Nothing in it reads without the key.
var (
	bucketCodes   = []byte("codes")   // blind(cti)  → sealed(time of issue ‖ reference)
	bucketHolders = []byte("holders") // blind(ref)  → sealed(holder)
)

type dayFiles struct {
	dir  string
	disk durable.Disk
	log  *slog.Logger
	mu   sync.RWMutex // held for reading while a day is used, for writing while one is opened or destroyed
	open map[day.Day]*bbolt.DB
}

func (d *dayFiles) path(day day.Day) string { return filepath.Join(d.dir, day.String()+dbEnding) }

// openBolt opens a database with these buckets. A second process waits a second at most, and a group commit 2 ms.
func openBolt(path string, buckets ...[]byte) (*bbolt.DB, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	db.MaxBatchDelay = 2 * time.Millisecond
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, b := range buckets {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = durable.Disk{}.SyncDir(filepath.Dir(path)) // bbolt syncs the file, not its name
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("preparing %s: %w", path, err), db.Close())
	}
	return db, nil
}

// use runs f with a day's open file; the day cannot be destroyed meanwhile. Without create a day that has no file gives
// daykey.ErrNoKey.
func (d *dayFiles) use(day day.Day, create bool, f func(*bbolt.DB) error) error {
	d.mu.RLock()
	if db := d.open[day]; db != nil {
		defer d.mu.RUnlock()
		return f(db)
	}
	d.mu.RUnlock()
	if err := d.openDay(day, create); err != nil {
		return err
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	db := d.open[day]
	if db == nil {
		return fmt.Errorf("%v: %w", day, daykey.ErrNoKey)
	}
	return f(db)
}

func (d *dayFiles) openDay(day day.Day, create bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[day] != nil {
		return nil
	}
	if _, err := os.Stat(d.path(day)); errors.Is(err, fs.ErrNotExist) && !create {
		return fmt.Errorf("%v: %w", day, daykey.ErrNoKey)
	}
	db, err := openBolt(d.path(day), bucketCodes, bucketHolders)
	if create && damaged(err) {
		if err := d.setAside(day, err); err != nil {
			return err
		}
		db, err = openBolt(d.path(day), bucketCodes, bucketHolders)
	}
	if err != nil {
		return err
	}
	d.open[day] = db
	return nil
}

// damaged reports whether an error of opening a database is of its content.
func damaged(err error) bool {
	return errors.Is(err, bolterrors.ErrInvalid) || errors.Is(err, bolterrors.ErrChecksum) || errors.Is(err, bolterrors.ErrVersionMismatch)
}

// setAside moves a day's file, which does not open because of cause, out of the way of the codes to come. The caller holds
// mu.
func (d *dayFiles) setAside(day day.Day, cause error) error {
	for n := 1; ; n++ {
		path := fmt.Sprintf("%s.damaged-%d", d.path(day), n)
		if _, err := os.Lstat(path); err == nil {
			continue
		}
		if err := d.disk.Rename(d.path(day), path); err != nil {
			return fmt.Errorf("setting the damaged issue log of %v aside: %w", day, err)
		}
		d.log.Error("issue log of a day is damaged; it was set aside and another one begun", "day", day.String(), "path", path, "error", cause)
		return nil
	}
}

// record writes a code and its holder's identity into the issue log of the code's day, and returns when both are durable.
func (d *dayFiles) record(k *dayKeys, day day.Day, h holder, cti token.CTI, iat time.Time) error {
	identity, err := encMode.Marshal(h)
	if err != nil {
		return fmt.Errorf("encoding a holder: %w", err)
	}
	code, who := k.blind("code", cti[:]), k.blind("holder", h.Ref)
	issued := binary.BigEndian.AppendUint64(nil, uint64(iat.Unix()))
	sealedCode := k.records.Seal(nil, nil, append(issued, h.Ref...), code)
	sealedHolder := k.records.Seal(nil, nil, identity, who)
	return d.use(day, true, func(db *bbolt.DB) error {
		return db.Batch(func(tx *bbolt.Tx) error {
			if holders := tx.Bucket(bucketHolders); holders.Get(who) == nil {
				if err := holders.Put(who, sealedHolder); err != nil {
					return err
				}
			}
			return tx.Bucket(bucketCodes).Put(code, sealedCode)
		})
	})
}

// find returns the holder and the time of issue of a code that the day's issue log holds.
func (d *dayFiles) find(k *dayKeys, day day.Day, cti token.CTI, r ref) (h holder, iat time.Time, err error) {
	code, who := k.blind("code", cti[:]), k.blind("holder", r[:])
	err = d.use(day, false, func(db *bbolt.DB) error {
		return db.View(func(tx *bbolt.Tx) error {
			issued, err := unseal(k.records, tx.Bucket(bucketCodes).Get(code), code)
			if err != nil || len(issued) != 8+len(r) || ref(issued[8:]) != r {
				return errNotOurs // genuine under the day's key, yet never given out
			}
			identity, err := unseal(k.records, tx.Bucket(bucketHolders).Get(who), who)
			if err != nil {
				return fmt.Errorf("identity of a holder of %v: %w", day, err)
			}
			if h, err = decodeHolder(identity); err != nil {
				return err
			}
			iat = time.Unix(int64(binary.BigEndian.Uint64(issued)), 0)
			return nil
		})
	})
	if err != nil {
		return holder{}, time.Time{}, err
	}
	return h, iat, nil
}

// count returns how many codes a day's issue log holds, 0 if there is no file. It writes nothing. A damaged file can be read
// in ways that bbolt does not foresee; that is an error too.
func (d *dayFiles) count(day day.Day) (n uint64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("counting %v: %v", day, p)
		}
	}()
	db := d.open[day]
	if db == nil {
		if _, err := os.Stat(d.path(day)); errors.Is(err, fs.ErrNotExist) {
			return 0, nil
		}
		if db, err = bbolt.Open(d.path(day), 0o600, &bbolt.Options{Timeout: time.Second, ReadOnly: true}); err != nil {
			return 0, fmt.Errorf("counting %v: %w", day, err)
		}
		defer db.Close()
	}
	err = db.View(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(bucketCodes); b != nil {
			n = uint64(b.Stats().KeyN)
		}
		return nil
	})
	return n, err
}

// destroy closes and removes a day's file and those set aside. Its key must have been destroyed before.
func (d *dayFiles) destroy(day day.Day) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var failed []error
	if db := d.open[day]; db != nil {
		failed = append(failed, db.Close())
		delete(d.open, day)
	}
	files, err := filepath.Glob(d.path(day) + ".damaged-*")
	failed = append(failed, err)
	for _, path := range append(files, d.path(day)) {
		failed = append(failed, d.disk.Remove(path))
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("removing %v: %w", day, err)
	}
	return nil
}

const dbEnding = ".db"

func (d *dayFiles) days() ([]day.Day, error) { return daykey.Days(d.dir, dbEnding) }

// strays are the paths of what lies among the days' files and is none of them.
func (d *dayFiles) strays() ([]string, error) { return daykey.Strays(d.dir, dbEnding) }

func (d *dayFiles) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []error
	for day, db := range d.open {
		all = append(all, db.Close())
		delete(d.open, day)
	}
	return errors.Join(all...)
}
