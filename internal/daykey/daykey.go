// Package daykey keeps one secret per calendar day in Seoul and destroys it when the day's four weeks are over. What is
// encrypted under a day's secret is gone when the secret is, wherever a copy of the data may be.
//
// # Files
//
// A folder, apart from the data, holds one file DAY.key (DAY as 2006-01-02) of 60 bytes: a 12-byte random nonce, then
// AES-256-GCM of the day's 32 random bytes, with "kipass day key v1 DAY" as additional data. The wrapping key is
// HKDF-SHA256 (RFC 5869) of the 32-byte master key, without salt, info "kipass day key wrap v1". Keys for use are never
// the secret itself but derived from it, see [Secret.Key]. To destroy a day its file is overwritten, unlinked, and the
// folder synced. A file that does not open under the master key any more is renamed to DAY.key.damaged-N when a key of its
// day is next made, and goes with its day. So that a wrong master key is not taken for damage, the file master.check holds
// a nonce and the AES-256-GCM of nothing, with "kipass day key check v1" as additional data, under the wrapping key. On flash and copy-on-write disks overwriting reaches other cells; what protects there is that the file
// only ever held the secret wrapped, and that the master key lies elsewhere.
//
// When a day may be destroyed is decided by package guard, since a wall clock alone may be wrong.
package daykey

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/protocol/day"
)

var (
	// ErrNoKey is wrapped by errors about a day that never had a key, or whose key is destroyed.
	ErrNoKey = errors.New("no key for this day")
	// ErrDamaged is wrapped by errors about a key file that does not open under the master key.
	ErrDamaged = errors.New("does not open under this key")
)

// KeySize is the size of the master key, of a day's secret and of every key derived from one, in bytes.
const KeySize = 32

const (
	suffix    = ".key"
	dayLabel  = "kipass day key v1 "
	wrapLabel = "kipass day key wrap v1"
)

// Secret is the secret of one day.
type Secret struct{ key []byte }

// Key returns KeySize bytes for one use: HKDF-SHA256 (RFC 5869) of the day's secret, without salt, label as info.
func (s Secret) Key(label string) ([]byte, error) {
	return hkdf.Key(sha256.New, s.key, nil, label, KeySize)
}

// AEAD returns AES-256-GCM under s.Key(label). It makes its own random nonces and puts them before the ciphertext, see
// [cipher.NewGCMWithRandomNonce]: 2^32 messages a day at the most (NIST SP 800-38D section 8.3).
func (s Secret) AEAD(label string) (cipher.AEAD, error) {
	key, err := s.Key(label)
	if err != nil {
		return nil, err
	}
	return newAEAD(key)
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Ring is the folder of day keys. K is what its owner derives from a day's secret. It is safe for concurrent use.
type Ring[K any] struct {
	dir    string
	wrap   cipher.AEAD
	derive func(Secret) (K, error)
	disk   durable.Disk

	// Damaged, if set, is told of each key file that is set aside and where it lies then. It is set before the first use.
	Damaged func(d day.Day, path string)

	mu        sync.RWMutex
	days      map[day.Day]*entry[K]
	aside     map[day.Day]bool // have files that were set aside
	forbidden map[day.Day]bool
}

// entry is a day that has a key file.
type entry[K any] struct {
	key  K
	read bool // key is set
}

// Open opens the folder, making it if need be. master is KeySize bytes. derive is called once for each day that is used.
// What an interrupted Make left is removed.
func Open[K any](dir string, master []byte, derive func(Secret) (K, error), disk durable.Disk) (*Ring[K], error) {
	if len(master) != KeySize {
		return nil, fmt.Errorf("master key of %d bytes, must be %d", len(master), KeySize)
	}
	key, err := hkdf.Key(sha256.New, master, nil, wrapLabel, KeySize)
	if err != nil {
		return nil, fmt.Errorf("deriving from the master key: %w", err)
	}
	wrap, err := newAEAD(key)
	if err != nil {
		return nil, fmt.Errorf("deriving from the master key: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of day keys: %w", err)
	}
	if err := disk.Sweep(dir); err != nil {
		return nil, fmt.Errorf("removing half-made day keys: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("listing days: %w", err)
	}
	r := &Ring[K]{
		dir: dir, wrap: wrap, derive: derive, disk: disk,
		days: map[day.Day]*entry[K]{}, aside: map[day.Day]bool{}, forbidden: map[day.Day]bool{},
	}
	for _, e := range entries {
		if d, rest, ok := split(e.Name(), suffix); ok && rest == "" {
			r.days[d] = &entry[K]{}
		}
	}
	if err := r.checkMaster(); err != nil {
		return nil, err
	}
	damaged, err := r.SetAside()
	if err != nil {
		return nil, err
	}
	for _, d := range damaged {
		r.aside[d] = true
	}
	return r, nil
}

func (r *Ring[K]) path(d day.Day) string { return filepath.Join(r.dir, d.String()+suffix) }

// Days lists the days that have a key file, those set aside included, oldest first.
func (r *Ring[K]) Days() ([]day.Day, error) { return Days(r.dir, suffix) }

// Strays lists the paths of what lies among the keys and is none.
func (r *Ring[K]) Strays() ([]string, error) { return Strays(r.dir, suffix, checkFile) }

// Days lists the days of which a folder holds files of that ending, or ones that were set aside under it and a dot more,
// oldest first. What else lies there is not looked at, see [Strays].
func Days(dir, ending string) ([]day.Day, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("listing days: %w", err)
	}
	var days []day.Day
	for _, e := range entries {
		if d, rest, ok := split(e.Name(), ending); ok && (rest == "" || rest[0] == '.') {
			days = append(days, d)
		}
	}
	slices.Sort(days)
	return slices.Compact(days), nil
}

// Strays lists the paths of what lies in a folder of days and is none of theirs: lost+found, what a file manager or a
// network file system leaves, a copy made by hand. Files named in ours belong there. Strays are skipped and never removed:
// an operator looks after them.
func Strays(dir, ending string, ours ...string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("listing what lies among the days: %w", err)
	}
	var strays []string
	for _, e := range entries {
		_, rest, ok := split(e.Name(), ending)
		if ok && (rest == "" || rest[0] == '.') || durable.IsScratch(e.Name()) || slices.Contains(ours, e.Name()) {
			continue
		}
		strays = append(strays, filepath.Join(dir, e.Name()))
	}
	return strays, nil
}

// split takes a file's name apart into the day, the ending, and what follows it.
func split(name, ending string) (d day.Day, rest string, ok bool) {
	if len(name) < len(time.DateOnly) {
		return 0, "", false
	}
	d, err := day.Parse(name[:len(time.DateOnly)])
	rest, ok = strings.CutPrefix(name[len(time.DateOnly):], ending)
	return d, rest, ok && err == nil
}

// Key returns the day's key. Errors wrap [ErrNoKey] or [ErrDamaged], or are of the disk.
func (r *Ring[K]) Key(d day.Day) (K, error) { return r.key(d, false) }

// Make returns the day's key and makes it, durably, if there is none, or none that opens: what is sealed from then on is
// not held up by a damaged file, which is set aside. A day whose key was destroyed gets no new one: the error wraps
// [ErrNoKey].
func (r *Ring[K]) Make(d day.Day) (K, error) { return r.key(d, true) }

func (r *Ring[K]) key(d day.Day, create bool) (k K, err error) {
	r.mu.RLock()
	e := r.days[d]
	if e != nil && e.read {
		defer r.mu.RUnlock()
		return e.key, nil
	}
	r.mu.RUnlock()
	if e == nil && !create {
		return k, fmt.Errorf("%v: %w", d, ErrNoKey)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if e = r.days[d]; e != nil && e.read {
		return e.key, nil
	}
	if r.forbidden[d] {
		return k, fmt.Errorf("%v: %w", d, ErrNoKey)
	}
	k, err = r.read(d)
	if create && errors.Is(err, ErrDamaged) {
		if err := r.setAside(d); err != nil {
			return k, err
		}
		err = ErrNoKey
	}
	if create && errors.Is(err, ErrNoKey) {
		if err := r.write(d); err != nil {
			return k, fmt.Errorf("making the key of %v: %w", d, err)
		}
		k, err = r.read(d)
	}
	if err != nil {
		return k, err
	}
	r.days[d] = &entry[K]{key: k, read: true}
	return k, nil
}

// read returns the key that the day's file holds.
func (r *Ring[K]) read(d day.Day) (k K, err error) {
	wrapped, err := os.ReadFile(r.path(d))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return k, fmt.Errorf("%v: %w", d, ErrNoKey)
	case err != nil:
		return k, fmt.Errorf("reading a day key: %w", err)
	}
	return r.open(d, wrapped)
}

func (r *Ring[K]) open(d day.Day, wrapped []byte) (k K, err error) {
	secret, err := r.wrap.Open(nil, nil, wrapped, []byte(dayLabel+d.String()))
	if err != nil || len(secret) != KeySize {
		return k, fmt.Errorf("%s: %w", r.path(d), ErrDamaged)
	}
	if k, err = r.derive(Secret{secret}); err != nil {
		var none K
		return none, fmt.Errorf("deriving from %s: %w", r.path(d), err)
	}
	return k, nil
}

func (r *Ring[K]) write(d day.Day) error {
	secret := make([]byte, KeySize)
	_, _ = rand.Read(secret) // never fails: crypto/rand ends the program instead
	return r.disk.Replace(r.path(d), r.wrap.Seal(nil, nil, secret, []byte(dayLabel+d.String())), 0o600)
}

// Forbid keeps a day whose key was destroyed before the folder was opened from getting a new one.
func (r *Ring[K]) Forbid(d day.Day) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forbidden[d] = true
}

// Destroy forgets the day's key, forbids a new one, and overwrites and unlinks the key's file and those set aside. It may
// be called again, after an error or a crash too.
func (r *Ring[K]) Destroy(d day.Day) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forbidden[d] = true
	delete(r.days, d)
	failed := []error{r.disk.Erase(r.path(d))}
	files, err := r.asideFiles()
	failed = append(failed, err)
	for _, path := range files[d] {
		failed = append(failed, r.disk.Erase(path))
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("destroying the key of %v: %w", d, err)
	}
	return nil
}
