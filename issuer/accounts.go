package issuer

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"go.etcd.io/bbolt"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/protocol/day"
)

// accounts finds a holder by the bearer secret the visitor's phone keeps. An account is sealed under the key of the day
// of its last code (of its registration, before the first): when that day is destroyed, 28 days later, the account
// cannot be read any more, not even from the freed pages a database file keeps.
type accounts struct {
	file   *storeFile
	keys   *keyring
	bearer []byte // HMAC key under which secrets are found
}

const bearerLabel = "kipass issuer bearer index v1"

var bucketAccounts = []byte("accounts") // blind(bearer) → day (4 bytes, big-endian) ‖ sealed(holder)

func openAccounts(file *storeFile, master []byte, keys *keyring) (*accounts, error) {
	bearer, err := hkdf.Key(sha256.New, master, nil, bearerLabel, daykey.KeySize)
	if err != nil {
		return nil, fmt.Errorf("deriving from the master key: %w", err)
	}
	file.buckets = [][]byte{bucketAccounts}
	file.lost = "accounts are damaged and were set aside: their holders have to register anew"
	if _, err := file.get(true); err != nil {
		return nil, err
	}
	return &accounts{file: file, keys: keys, bearer: bearer}, nil
}

func (a *accounts) view(f func(*bbolt.Tx) error) error {
	return a.file.use(true, func(db *database) error { return db.view(f) })
}

func (a *accounts) update(f func(*bbolt.Tx) error) error {
	return a.file.use(true, func(db *database) error { return db.update(f) })
}

// newBearer returns a fresh secret: 32 random bytes, base64url.
func newBearer() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program instead
	return base64.RawURLEncoding.EncodeToString(b)
}

func (a *accounts) row(bearer string) []byte {
	h := hmac.New(sha256.New, a.bearer)
	h.Write([]byte(bearer))
	return h.Sum(nil)
}

// put seals the account under day, durably.
func (a *accounts) put(bearer string, h holder, day day.Day) error {
	k, err := a.keys.Make(day)
	if err != nil {
		return err
	}
	plain, err := encMode.Marshal(h)
	if err != nil {
		return fmt.Errorf("encoding a holder: %w", err)
	}
	row := a.row(bearer)
	value := binary.BigEndian.AppendUint32(nil, uint32(day))
	value = append(value, k.account.Seal(nil, nil, plain, row)...)
	err = a.update(func(tx *bbolt.Tx) error {
		accounts := tx.Bucket(bucketAccounts)
		if held := accounts.Get(row); len(held) >= 4 && sealedOn(held) > day {
			return nil // a code of the next day overtook this one
		}
		return accounts.Put(row, value)
	})
	if err != nil {
		return fmt.Errorf("storing an account: %w", err)
	}
	return nil
}

func sealedOn(value []byte) day.Day { return day.Day(int32(binary.BigEndian.Uint32(value))) }

// get returns the account and the day under which it is sealed. The error wraps ErrUnknown if there is none, or none
// any more.
func (a *accounts) get(bearer string) (holder, day.Day, error) {
	row := a.row(bearer)
	var value []byte
	err := a.view(func(tx *bbolt.Tx) error {
		value = append(value[:0], tx.Bucket(bucketAccounts).Get(row)...)
		return nil
	})
	if err != nil {
		return holder{}, 0, fmt.Errorf("reading an account: %w", err)
	}
	if len(value) < 4 {
		return holder{}, 0, ErrUnknown
	}
	day := sealedOn(value)
	keys, err := a.keys.Keys(day)
	if errors.Is(err, daykey.ErrNoKey) || errors.Is(err, daykey.ErrDamaged) {
		return holder{}, 0, ErrUnknown
	}
	if err != nil {
		return holder{}, 0, err
	}
	for _, k := range keys {
		plain, err := unseal(k.account, value[4:], row)
		if err != nil {
			continue
		}
		h, err := decodeHolder(plain)
		if err != nil {
			return holder{}, 0, err
		}
		return h, day, nil
	}
	return holder{}, 0, ErrUnknown // its day's key was damaged: the holder registers anew
}

// count returns how many accounts are sealed under day or earlier.
func (a *accounts) count(day day.Day) (n uint64, err error) {
	err = a.view(func(tx *bbolt.Tx) error {
		rows, err := rowsUntil(tx, day)
		n = uint64(len(rows))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("counting accounts of %v: %w", day, err)
	}
	return n, nil
}

func rowsUntil(tx *bbolt.Tx, day day.Day) (rows [][]byte, err error) {
	err = tx.Bucket(bucketAccounts).ForEach(func(row, value []byte) error {
		if len(value) < 4 || sealedOn(value) <= day {
			rows = append(rows, bytes.Clone(row)) // a bucket must not change under its own iteration
		}
		return nil
	})
	return rows, err
}

// purge removes the accounts sealed under day or earlier, and what was set aside of such alone.
func (a *accounts) purge(day day.Day) error {
	err := a.update(func(tx *bbolt.Tx) error {
		rows, err := rowsUntil(tx, day)
		if err != nil {
			return err
		}
		accounts := tx.Bucket(bucketAccounts)
		for _, row := range rows {
			if err := accounts.Delete(row); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("removing accounts of %v: %w", day, err)
	}
	return a.purgeAside(day)
}

// purgeAside removes files that were set aside and last written to before day: an account is sealed under the day after at
// the latest.
func (a *accounts) purgeAside(d day.Day) error {
	paths, err := a.file.aside()
	if err != nil {
		return err
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err == nil && day.Of(info.ModTime()) < d {
			err = a.file.disk.Remove(path)
		}
		if err != nil {
			return fmt.Errorf("removing accounts that were set aside: %w", err)
		}
	}
	return nil
}
