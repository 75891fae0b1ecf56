package issuer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"

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
	dir   string
	disk  durable.Disk
	log   *slog.Logger
	mu    sync.Mutex // held while a day is destroyed
	files map[day.Day]*storeFile
}

// file is a day's file, whether or not it is there. The caller holds mu.
func (d *dayFiles) file(day day.Day) *storeFile {
	f := d.files[day]
	if f == nil {
		f = &storeFile{
			path: filepath.Join(d.dir, day.String()+dbEnding), buckets: [][]byte{bucketCodes, bucketHolders}, disk: d.disk,
			log: d.log.With("day", day.String()), lost: "issue log of a day is damaged and was set aside: what it held cannot be opened",
		}
		d.files[day] = f
	}
	return f
}

// use runs f with a day's open file. Without create a day that has no file, or only a damaged one, gives daykey.ErrNoKey.
func (d *dayFiles) use(day day.Day, create bool, f func(*database) error) error {
	d.mu.Lock()
	file := d.file(day)
	d.mu.Unlock()
	err := file.use(create, f)
	if errors.Is(err, fs.ErrNotExist) && !create {
		return fmt.Errorf("%v: %w", day, daykey.ErrNoKey)
	}
	return err
}

// damaged tells what is damaged in a day's issue log: what was set aside, and what was seen since the start.
func (d *dayFiles) damaged(day day.Day) (what []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.file(day)
	aside, err := f.aside()
	if len(aside) > 0 {
		what = append(what, damagedLog)
	}
	if f.altered.Load() {
		what = append(what, damagedInPart)
	}
	return what, err
}

// check reads all of a day's file, and opens each entry under one of the keys, if there are any. What is found is told as
// what is found at use.
func (d *dayFiles) check(day day.Day, keys []*dayKeys) error {
	d.mu.Lock()
	f := d.file(day)
	d.mu.Unlock()
	return d.use(day, false, func(db *database) error {
		torn, err := db.check(f.path, f.buckets...)
		if torn != "" {
			f.alter(torn)
		}
		if err != nil || len(keys) == 0 {
			return err
		}
		return db.view(func(tx *bbolt.Tx) error {
			for _, name := range f.buckets {
				err := tx.Bucket(name).ForEach(func(key, sealed []byte) error {
					if !slices.ContainsFunc(keys, func(k *dayKeys) bool { _, err := unseal(k.records, sealed, key); return err == nil }) {
						f.alter("an entry does not open")
					}
					return nil
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
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
	return d.use(day, true, func(db *database) error {
		return db.update(func(tx *bbolt.Tx) error {
			holders := tx.Bucket(bucketHolders)
			if _, err := unseal(k.records, holders.Get(who), who); err != nil { // none, or damaged
				if err := holders.Put(who, sealedHolder); err != nil {
					return err
				}
			}
			return tx.Bucket(bucketCodes).Put(code, sealedCode)
		})
	})
}

// find returns the holder and the time of issue of a code that the day's issue log holds. One whose entries are damaged gives
// errNotOurs, like one that it does not hold; that is told in the log.
func (d *dayFiles) find(k *dayKeys, day day.Day, cti token.CTI, r ref) (h holder, iat time.Time, err error) {
	var issued, identity []byte
	code, who := k.blind("code", cti[:]), k.blind("holder", r[:])
	err = d.use(day, false, func(db *database) error {
		return db.view(func(tx *bbolt.Tx) error {
			issued = bytes.Clone(tx.Bucket(bucketCodes).Get(code))
			identity = bytes.Clone(tx.Bucket(bucketHolders).Get(who))
			return nil
		})
	})
	if err != nil {
		return holder{}, time.Time{}, err
	}
	if issued == nil {
		return holder{}, time.Time{}, errNotOurs // genuine under the day's key, yet never given out
	}
	if h, iat, err = readEntry(k, code, issued, who, identity); err == nil && h.ref() != r {
		err = errors.New("entry of a code is another's")
	}
	if err != nil {
		d.mu.Lock()
		f := d.file(day)
		d.mu.Unlock()
		f.alter(err.Error())
		return holder{}, time.Time{}, errNotOurs
	}
	return h, iat, nil
}

// readEntry opens what stands under a code and under its holder.
func readEntry(k *dayKeys, code, issued, who, identity []byte) (h holder, iat time.Time, err error) {
	if issued, err = unseal(k.records, issued, code); err != nil {
		return holder{}, time.Time{}, fmt.Errorf("entry of a code: %w", err)
	}
	if identity, err = unseal(k.records, identity, who); err != nil {
		return holder{}, time.Time{}, fmt.Errorf("identity of a holder: %w", err)
	}
	if h, err = decodeHolder(identity); err != nil {
		return holder{}, time.Time{}, err
	}
	if len(issued) != 8+len(h.Ref) || !bytes.Equal(issued[8:], h.Ref) {
		return holder{}, time.Time{}, errors.New("entry of a code names another holder")
	}
	return h, time.Unix(int64(binary.BigEndian.Uint64(issued)), 0), nil
}

// count returns how many codes a day's issue log holds, 0 if there is no file. It writes nothing. Codes that are lost are an
// error.
func (d *dayFiles) count(day day.Day) (n uint64, err error) {
	err = d.use(day, false, func(db *database) error {
		return db.view(func(tx *bbolt.Tx) error {
			n = uint64(tx.Bucket(bucketCodes).Stats().KeyN)
			return nil
		})
	})
	if err != nil && !errors.Is(err, daykey.ErrNoKey) {
		return 0, fmt.Errorf("counting %v: %w", day, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	lost, err := d.file(day).aside()
	if err == nil && len(lost) > 0 {
		err = fmt.Errorf("counting %v: what %s holds is not counted", day, lost[0])
	}
	return n, err
}

// destroy closes and removes a day's file and those set aside. Its key must have been destroyed before.
func (d *dayFiles) destroy(day day.Day) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.file(day)
	delete(d.files, day)
	failed := []error{f.close()}
	lost, err := f.aside()
	failed = append(failed, err)
	for _, path := range append(lost, f.path) {
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
	for _, f := range d.files {
		all = append(all, f.close())
	}
	return errors.Join(all...)
}
