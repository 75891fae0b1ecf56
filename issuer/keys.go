package issuer

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/kipass/kipass/visit"
)

const (
	keySize     = 32
	wrapLabel   = "kipass issuer day key v1"
	bearerLabel = "kipass issuer bearer index v1"
)

// errDestroyed says that a day has no key: nothing was ever issued on it, or it has been destroyed.
var errDestroyed = errors.New("no key for this day")

// dayKeys are what one day's data is sealed with, all derived (HKDF-SHA256, RFC 5869) from the day's key.
type dayKeys struct {
	cti     cipher.AEAD // holder references in codes
	records cipher.AEAD // the issue log and the copies of identities
	account cipher.AEAD // accounts whose last code is of this day
	index   []byte      // HMAC-SHA256 key that hides codes and references used as database keys
}

func (k *dayKeys) blind(kind string, b []byte) []byte {
	h := hmac.New(sha256.New, k.index)
	h.Write([]byte(kind))
	h.Write(b)
	return h.Sum(nil)[:16]
}

// vault holds one wrapped key file per day, in a folder apart from the data. Destroying the file makes everything of
// that day unreadable, wherever a copy of the data may be.
type vault struct {
	dir  string
	disk eraser
	wrap cipher.AEAD
	mu   sync.Mutex
	open map[visit.Day]*dayKeys
}

func newVault(dir string, master []byte, disk eraser) (*vault, error) {
	key, err := hkdf.Key(sha256.New, master, nil, wrapLabel, keySize)
	if err != nil {
		return nil, fmt.Errorf("deriving from the master key: %w", err)
	}
	wrap, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	return &vault{dir: dir, disk: disk, wrap: wrap, open: map[visit.Day]*dayKeys{}}, nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("key of %d bytes: %w", len(key), err)
	}
	return cipher.NewGCM(block)
}

func (v *vault) path(d visit.Day) string { return filepath.Join(v.dir, d.String()+".key") }

// get returns the keys of a day, errDestroyed if there are none.
func (v *vault) get(d visit.Day) (*dayKeys, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.load(d)
}

// make returns the keys of a day, new and durable ones if there are none.
func (v *vault) make(d visit.Day) (*dayKeys, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	k, err := v.load(d)
	if !errors.Is(err, errDestroyed) {
		return k, err
	}
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails: crypto/rand ends the program instead
	if err := writeFile(v.path(d), seal(v.wrap, key, v.context(d)), 0o600); err != nil {
		return nil, fmt.Errorf("writing the key of %v: %w", d, err)
	}
	return v.load(d)
}

func (v *vault) context(d visit.Day) []byte { return []byte(wrapLabel + " " + d.String()) }

func (v *vault) load(d visit.Day) (*dayKeys, error) {
	if k := v.open[d]; k != nil {
		return k, nil
	}
	sealed, err := os.ReadFile(v.path(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%v: %w", d, errDestroyed)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the key of %v: %w", d, err)
	}
	key, err := unseal(v.wrap, sealed, v.context(d))
	if err != nil {
		return nil, fmt.Errorf("key of %v: not wrapped by this master key, or damaged", d)
	}
	k, err := deriveDay(key)
	if err != nil {
		return nil, err
	}
	v.open[d] = k
	return k, nil
}

func deriveDay(key []byte) (*dayKeys, error) {
	var k dayKeys
	for _, p := range []struct {
		label string
		aead  *cipher.AEAD
	}{{"cti", &k.cti}, {"records", &k.records}, {"account", &k.account}} {
		sub, err := hkdf.Expand(sha256.New, key, "kipass issuer "+p.label+" v1", keySize)
		if err != nil {
			return nil, fmt.Errorf("deriving the key for %s: %w", p.label, err)
		}
		if *p.aead, err = newGCM(sub); err != nil {
			return nil, err
		}
	}
	var err error
	k.index, err = hkdf.Expand(sha256.New, key, "kipass issuer index v1", keySize)
	return &k, err
}

// days returns the days that have a key.
func (v *vault) days() ([]visit.Day, error) { return daysIn(v.dir, ".key") }

// destroy overwrites and removes a day's key file and forgets the key. On flash and copy-on-write disks overwriting
// reaches other cells; what protects there is that the file only ever held the key wrapped by the master key.
func (v *vault) destroy(d visit.Day) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.open, d)
	if err := v.disk.Overwrite(v.path(d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("overwriting the key of %v: %w", d, err)
	}
	if err := v.disk.Remove(v.path(d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the key of %v: %w", d, err)
	}
	return nil
}

// daysIn lists the days named by files with that ending, oldest first.
func daysIn(dir, ending string) ([]visit.Day, error) {
	entries, err := os.ReadDir(dir) // sorted by name, which is by day
	if err != nil {
		return nil, fmt.Errorf("listing days: %w", err)
	}
	var days []visit.Day
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ending)
		if !ok {
			continue
		}
		d, err := visit.ParseDay(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, e.Name()), err)
		}
		days = append(days, d)
	}
	return days, nil
}

// seal returns nonce ‖ AES-GCM(plain) under a random 12-byte nonce.
func seal(k cipher.AEAD, plain, context []byte) []byte {
	nonce := make([]byte, k.NonceSize(), k.NonceSize()+len(plain)+k.Overhead())
	_, _ = rand.Read(nonce)
	return k.Seal(nonce, nonce, plain, context)
}

var errSealed = errors.New("sealed under another key, or damaged")

func unseal(k cipher.AEAD, sealed, context []byte) ([]byte, error) {
	n := k.NonceSize()
	if len(sealed) < n {
		return nil, errSealed
	}
	plain, err := k.Open(nil, sealed[:n], sealed[n:], context)
	if err != nil {
		return nil, errSealed
	}
	return plain, nil
}
