package journal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"

	bolt "go.etcd.io/bbolt"

	"github.com/kipass/kipass/internal/boltcheck"
	"github.com/kipass/kipass/protocol/visit"
)

// begin makes an empty journal under a new identity, durably, in place of what is there.
func (j *Journal) begin() error {
	s := state{floor: j.floor.Load()}
	if _, err := rand.Read(s.id[:]); err != nil {
		return fmt.Errorf("beginning a journal: %w", err)
	}
	s.base.Chain = visit.Genesis(s.id)
	s.tail, s.head = s.base, s.base
	db, file, err := openBolt(j.path(newName), j.opts.MaxSize+reserve, false)
	if err != nil {
		return fmt.Errorf("beginning a journal: %w", err)
	}
	err = catchPanic(func() error {
		return db.Update(func(tx *bolt.Tx) error {
			for _, name := range [][]byte{bucketMeta, bucketEpochs, bucketRecords, bucketSettled, bucketQuarantine} {
				if _, err := tx.CreateBucket(name); err != nil {
					return err
				}
			}
			meta := tx.Bucket(bucketMeta)
			if err := meta.Put(keyPlace, encodePlace(j.opts.Facility, j.opts.Gate)); err != nil {
				return err
			}
			return meta.Put(keyState, s.encode())
		})
	})
	err = errors.Join(err, boltcheck.Close(db, file, errors.Is(err, errPanic)))
	if err == nil {
		err = j.opts.System.Disk.Rename(j.path(newName), j.filePath)
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
		if err = j.opts.System.Disk.Rename(j.path(newName), j.filePath); err != nil {
			// Either file may be the one that is found at the next start, so nothing may be acknowledged on either of them.
			j.suspect = err
		}
	}
	if err != nil {
		_ = os.Remove(j.path(newName))
		if isFull(err) {
			err = fmt.Errorf("%w: %w", ErrFull, err)
		}
		return fmt.Errorf("rewriting journal: %w", err)
	}
	j.swap.Lock()
	defer j.swap.Unlock()
	if err := j.closeFile(false); err != nil {
		j.log.Warn("journal file not closed cleanly", "error", err)
	}
	if err := j.openFile(); err != nil {
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
	dst, file, err := openBolt(path, j.opts.MaxSize+reserve, true)
	if err != nil {
		return err
	}
	err = catchPanic(func() error {
		if err := bolt.Compact(dst, j.db, 1<<20); err != nil {
			return err
		}
		next := j.state
		next.removed = 0
		err := dst.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyState, next.encode()) })
		if err != nil {
			return err
		}
		return j.opts.System.Disk.Sync(file)
	})
	return errors.Join(err, boltcheck.Close(dst, file, errors.Is(err, errPanic)))
}
