// Package daykey keeps one key per day of visit, each in a file of its own, wrapped by the master key and apart from
// the data. What is encrypted under a day's key is gone when the file is: see [Ring.Destroy].
package daykey

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/kipass/kipass/visit"
	"github.com/kipass/kipass/visitserver/store"
)

var (
	// ErrNoKey is returned for a day that never had a key, or whose key is destroyed.
	ErrNoKey = errors.New("no key for this day")
	// ErrDamaged is wrapped by errors about a key file or a row that the keys at hand do not open.
	ErrDamaged = errors.New("does not open under this key")
)

const (
	suffix     = ".key"
	newSuffix  = ".new"
	seedSize   = 32
	wrapLabel  = "kipass day key v1 "
	sealInfo   = "kipass day seal v1"
	blindInfo  = "kipass day blind index v1"
	masterSize = 32
)

// Ring is the folder of day keys. It is safe for concurrent use.
type Ring struct {
	dir    string
	master cipher.AEAD

	mu        sync.RWMutex
	keys      map[visit.Day]*Key // nil: on disk, not yet read
	destroyed map[visit.Day]bool
}

// Open opens the folder, making it if need be. master is 32 bytes. Files left by an interrupted Make are removed.
func Open(dir string, master []byte) (*Ring, error) {
	aead, err := newAEAD(master)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of day keys: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"+newSuffix))
	if err != nil {
		return nil, fmt.Errorf("reading the folder of day keys: %w", err)
	}
	for _, path := range left {
		if err := erase(path); err != nil {
			return nil, err
		}
	}
	r := &Ring{dir: dir, master: aead, keys: map[visit.Day]*Key{}, destroyed: map[visit.Day]bool{}}
	days, err := r.Days()
	if err != nil {
		return nil, err
	}
	for _, d := range days {
		r.keys[d] = nil
	}
	return r, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	if len(key) != masterSize {
		return nil, fmt.Errorf("%d bytes, must be %d", len(key), masterSize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func (r *Ring) path(d visit.Day) string { return filepath.Join(r.dir, d.String()+suffix) }

// Days lists the days that have a key file, in no order.
func (r *Ring) Days() ([]visit.Day, error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return nil, fmt.Errorf("listing day keys: %w", err)
	}
	var days []visit.Day
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok {
			continue
		}
		d, err := visit.ParseDay(name)
		if err != nil {
			return nil, fmt.Errorf("listing day keys: %w", err)
		}
		days = append(days, d)
	}
	return days, nil
}

// Key returns the day's key, or an error wrapping [ErrNoKey].
func (r *Ring) Key(d visit.Day) (*Key, error) { return r.key(d, false) }

// Make returns the day's key and makes it, durably, if there is none. A day whose key was destroyed gets no new one: the
// error wraps [ErrNoKey].
func (r *Ring) Make(d visit.Day) (*Key, error) { return r.key(d, true) }

func (r *Ring) key(d visit.Day, create bool) (*Key, error) {
	r.mu.RLock()
	k, there := r.keys[d]
	r.mu.RUnlock()
	switch {
	case k != nil:
		return k, nil
	case !there && !create:
		return nil, fmt.Errorf("%v: %w", d, ErrNoKey)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.keys[d]; k != nil {
		return k, nil
	}
	if r.destroyed[d] {
		return nil, fmt.Errorf("%v: %w", d, ErrNoKey)
	}
	wrapped, err := os.ReadFile(r.path(d))
	switch {
	case err == nil:
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("reading a day key: %w", err)
	case !create:
		return nil, fmt.Errorf("%v: %w", d, ErrNoKey)
	default:
		if wrapped, err = r.write(d); err != nil {
			return nil, fmt.Errorf("making the key of %v: %w", d, err)
		}
	}
	seed, err := r.master.Open(nil, nil, wrapped, []byte(wrapLabel+d.String()))
	if err != nil || len(seed) != seedSize {
		return nil, fmt.Errorf("%s: %w", r.path(d), ErrDamaged)
	}
	if k, err = newKey(seed); err != nil {
		return nil, fmt.Errorf("%s: %w", r.path(d), err)
	}
	r.keys[d] = k
	return k, nil
}

func (r *Ring) write(d visit.Day) ([]byte, error) {
	seed := make([]byte, seedSize)
	_, _ = rand.Read(seed) // never fails: crypto/rand ends the program instead
	wrapped := r.master.Seal(nil, nil, seed, []byte(wrapLabel+d.String()))
	clear(seed)
	fresh := r.path(d) + newSuffix
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(wrapped)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	if err := os.Rename(fresh, r.path(d)); err != nil {
		return nil, err
	}
	return wrapped, syncFolder(r.dir)
}

// Forbid keeps a day whose key is gone from getting a new one.
func (r *Ring) Forbid(d visit.Day) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.destroyed[d] = true
}

// Destroy overwrites the day's key file, unlinks it and syncs the folder. It may be called again, after a crash too.
func (r *Ring) Destroy(d visit.Day) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.destroyed[d] = true
	delete(r.keys, d)
	if err := erase(r.path(d)); err != nil {
		return fmt.Errorf("destroying the key of %v: %w", d, err)
	}
	return syncFolder(r.dir)
}

// erase overwrites a file with random bytes and unlinks it; a missing file is no error.
func erase(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	noise := make([]byte, info.Size())
	_, _ = rand.Read(noise)
	_, err = f.WriteAt(noise, 0)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Remove(path)
}

func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Key seals the visits of one day and names their codes. It is safe for concurrent use.
type Key struct {
	aead  cipher.AEAD
	blind sync.Pool // of hash.Hash: an HMAC is costly to begin
}

func newKey(seed []byte) (*Key, error) {
	sealKey, err := hkdf.Key(sha256.New, seed, nil, sealInfo, masterSize)
	if err != nil {
		return nil, err
	}
	blindKey, err := hkdf.Key(sha256.New, seed, nil, blindInfo, sha256.Size)
	if err != nil {
		return nil, err
	}
	k := &Key{}
	if k.aead, err = newAEAD(sealKey); err != nil {
		return nil, err
	}
	k.blind.New = func() any { return hmac.New(sha256.New, blindKey) }
	return k, nil
}

// Blind returns the blind index of an issuer's code: HMAC-SHA-256 (RFC 2104) cut to 16 bytes, over the issuer's name
// with a length byte and the cti.
func (k *Key) Blind(issuer string, cti visit.CTI) store.Blind {
	h := k.blind.Get().(hash.Hash)
	defer k.blind.Put(h)
	h.Reset()
	var b [1 + 16 + visit.CTISize]byte
	n := append(append(append(b[:0], byte(len(issuer))), issuer...), cti[:]...)
	h.Write(n)
	var sum [sha256.Size]byte
	return store.Blind(h.Sum(sum[:0]))
}

// Seal returns a row: the visit's canonical encoding under AES-256-GCM with a random nonce, bound to facility, gate,
// time of placing and blind index.
func (k *Key) Seal(f visit.Facility, g visit.Gate, at time.Time, v visit.Visit) (store.Row, error) {
	record, err := v.Marshal()
	if err != nil {
		return store.Row{}, fmt.Errorf("encoding a visit: %w", err)
	}
	row := store.Row{At: at.Truncate(time.Millisecond), Blind: k.Blind(v.Issuer, v.CTI), Gate: g}
	row.Sealed = k.aead.Seal(make([]byte, 0, len(record)+k.aead.Overhead()), nil, record, place(f, row))
	return row, nil
}

// Open returns the visit of a row. Errors wrap [ErrDamaged].
func (k *Key) Open(f visit.Facility, row store.Row) (visit.Visit, error) {
	record, err := k.aead.Open(nil, nil, row.Sealed, place(f, row))
	if err != nil {
		return visit.Visit{}, fmt.Errorf("stored visit: %w", ErrDamaged)
	}
	v, err := visit.Unmarshal(record)
	if err != nil {
		return visit.Visit{}, fmt.Errorf("stored visit: %w: %v", ErrDamaged, err)
	}
	if want := k.Blind(v.Issuer, v.CTI); !bytes.Equal(want[:], row.Blind[:]) {
		return visit.Visit{}, fmt.Errorf("stored visit: %w: it stands under another code's index", ErrDamaged)
	}
	return v, nil
}

func place(f visit.Facility, r store.Row) []byte {
	b := make([]byte, 0, 96)
	b = append(append(b, byte(len(f))), f...)
	b = append(append(b, byte(len(r.Gate))), r.Gate...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.At.UnixMilli()))
	return append(b, r.Blind[:]...)
}
