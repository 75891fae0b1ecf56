package daykey

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/day"
)

var someDay = day.Of(time.Date(2020, 7, 1, 0, 0, 0, 0, day.Seoul()))

// key is what the tests derive: two keys for two uses.
type key struct{ one, other []byte }

func derive(s Secret) (*key, error) {
	one, err1 := s.Key("one")
	other, err2 := s.Key("other")
	return &key{one, other}, errors.Join(err1, err2)
}

func newRing(t *testing.T, dir string, master []byte, disk durable.Disk) *Ring[*key] {
	t.Helper()
	r, err := Open(dir, master, derive, disk)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newMaster() []byte {
	b := make([]byte, KeySize)
	_, _ = rand.Read(b)
	return b
}

func made(t *testing.T, r *Ring[*key], d day.Day) *key {
	t.Helper()
	k, err := r.Make(d)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeysAreTheSameAfterOpeningAgainAndDifferByDayAndUse(t *testing.T) {
	dir, master := t.TempDir(), newMaster()
	r := newRing(t, dir, master, durable.Disk{})
	k, next := made(t, r, someDay), made(t, r, someDay+1)
	again := newRing(t, dir, master, durable.Disk{})
	if got, err := again.Key(someDay); err != nil || !bytes.Equal(got.one, k.one) || !bytes.Equal(got.other, k.other) {
		t.Errorf("another key after opening again: %v", err)
	}
	if got := made(t, again, someDay+1); !bytes.Equal(got.one, next.one) {
		t.Error("a key was made over one that was there")
	}
	if len(k.one) != KeySize || bytes.Equal(k.one, k.other) || bytes.Equal(k.one, next.one) {
		t.Error("two uses or two days share a key")
	}
	raw, err := os.ReadFile(filepath.Join(dir, someDay.String()+suffix))
	if err != nil || len(raw) != 12+KeySize+16 {
		t.Errorf("the file has %d bytes, %v", len(raw), err)
	}
	if days, err := again.Days(); err != nil || !slices.Equal(days, []day.Day{someDay, someDay + 1}) {
		t.Errorf("days %v, %v", days, err)
	}
	if _, err := Open(dir, newMaster(), derive, durable.Disk{}); !errors.Is(err, ErrMaster) {
		t.Errorf("under another master key: %v", err)
	}
	if err := os.Rename(filepath.Join(dir, someDay.String()+suffix), filepath.Join(dir, (someDay+1).String()+suffix)); err != nil {
		t.Fatal(err)
	}
	if _, err := newRing(t, dir, master, durable.Disk{}).Key(someDay + 1); !errors.Is(err, ErrDamaged) {
		t.Errorf("a key moved to another day: %v", err)
	}
}

func TestSealedUnderOneUseDoesNotOpenUnderAnother(t *testing.T) {
	s := Secret{newMaster()}
	one, err1 := s.AEAD("one")
	other, err2 := s.AEAD("other")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	sealed := one.Seal(nil, nil, []byte("plain"), []byte("context"))
	if plain, err := one.Open(nil, nil, sealed, []byte("context")); err != nil || string(plain) != "plain" {
		t.Errorf("opened %q, %v", plain, err)
	}
	if _, err := other.Open(nil, nil, sealed, []byte("context")); err == nil {
		t.Error("opened under another use's key")
	}
	if again := one.Seal(nil, nil, []byte("plain"), []byte("context")); bytes.Equal(again, sealed) {
		t.Error("two ciphertexts are the same")
	}
}

func TestADestroyedKeyIsGoneAndNotMadeAgain(t *testing.T) {
	dir, master := t.TempDir(), newMaster()
	r := newRing(t, dir, master, durable.Disk{})
	if _, err := r.Key(someDay); !errors.Is(err, ErrNoKey) {
		t.Errorf("a key never made: %v", err)
	}
	made(t, r, someDay)
	path := filepath.Join(dir, someDay.String()+suffix)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	keep := filepath.Join(t.TempDir(), "link") // shows what becomes of the file's bytes
	if err := os.Link(path, keep); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.Destroy(someDay); err != nil {
			t.Fatal(err)
		}
	}
	after, err := os.ReadFile(keep)
	if err != nil || len(after) != len(before) || bytes.Contains(after, before[12:28]) {
		t.Errorf("the file was not overwritten: %v", err)
	}
	for rule, f := range map[string]func(day.Day) (*key, error){"had": r.Key, "made": r.Make} {
		if _, err := f(someDay); !errors.Is(err, ErrNoKey) {
			t.Errorf("a destroyed key was %s: %v", rule, err)
		}
	}
	if days, err := r.Days(); err != nil || len(days) != 0 {
		t.Errorf("days %v, %v", days, err)
	}
	again := newRing(t, dir, master, durable.Disk{})
	again.Forbid(someDay)
	if _, err := again.Make(someDay); !errors.Is(err, ErrNoKey) {
		t.Errorf("a forbidden day got a key: %v", err)
	}
}

func TestConcurrentMakersGetOneKey(t *testing.T) {
	r := newRing(t, t.TempDir(), newMaster(), durable.Disk{})
	var wg sync.WaitGroup
	keys := make([]*key, 8)
	for i := range keys {
		wg.Go(func() {
			var err error
			if keys[i], err = r.Make(someDay); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, k := range keys {
		if k != keys[0] {
			t.Error("two keys of one day")
		}
	}
}

func TestWhatIsNoKeyFolderIsNotOpened(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir, make([]byte, 5), derive, durable.Disk{}); err == nil {
		t.Error("a short master key was taken")
	}
}

// TestStraysAreSkippedAndShown: whatever others put among the keys is neither taken for a key nor removed, and stops nothing.
func TestStraysAreSkippedAndShown(t *testing.T) {
	for _, stray := range []string{
		"lost+found/", ".nfs000000000012c4560000001b", "._" + someDay.String() + ".key", someDay.String() + " (copy).key",
		someDay.String() + ".key~", someDay.String() + ".db", "Thumbs.db", ".DS_Store", "someday.key", "key", "2020-13-01.key",
	} {
		t.Run(stray, func(t *testing.T) {
			dir, master := t.TempDir(), newMaster()
			r := newRing(t, dir, master, durable.Disk{})
			made(t, r, someDay)
			path := filepath.Join(dir, strings.TrimSuffix(stray, "/"))
			if strings.HasSuffix(stray, "/") {
				testkit.Check(t, os.Mkdir(path, 0o700))
			} else {
				testkit.Check(t, os.WriteFile(path, []byte("x"), 0o600))
			}
			r = newRing(t, dir, master, durable.Disk{})
			if days, err := r.Days(); err != nil || !slices.Equal(days, []day.Day{someDay}) {
				t.Errorf("days %v, %v", days, err)
			}
			if strays, err := r.Strays(); err != nil || !slices.Equal(strays, []string{path}) {
				t.Errorf("strays %v, %v", strays, err)
			}
			testkit.Check(t, r.Destroy(someDay))
			if left := testkit.Must(os.ReadDir(dir))(t); len(left) != 2 { // and the master key's check
				t.Errorf("%d files are left, want the stray and the check", len(left))
			}
		})
	}
}

// TestAKeySetAsideThatStaysHoldsUpNoOther: the key in use is destroyed though another file of the day cannot be.
func TestAKeySetAsideThatStaysHoldsUpNoOther(t *testing.T) {
	dir := t.TempDir()
	r := newRing(t, dir, newMaster(), durable.Disk{})
	made(t, r, someDay)
	testkit.Check(t, os.Mkdir(filepath.Join(dir, someDay.String()+aside+"1"), 0o700)) // no file: cannot be overwritten
	if err := r.Destroy(someDay); err == nil {
		t.Error("Destroy does not tell")
	}
	if _, err := os.Stat(filepath.Join(dir, someDay.String()+suffix)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the key in use is there, %v", err)
	}
}

// TestFaultsOfEachStep plays every step of making and of destroying a key. After the fault a day has its key whole or
// none, no key was handed out that is not durable, and the call repeated does its work.
func TestFaultsOfEachStep(t *testing.T) {
	t.Run("making", func(t *testing.T) {
		testkit.EachCrash(t, 5, func() (func(durable.Disk) error, func(string)) {
			dir, master := t.TempDir(), newMaster()
			newRing(t, dir, master, durable.Disk{}) // proves the master key
			var k *key
			create := func(disk durable.Disk) (err error) {
				k, err = newRing(t, dir, master, disk).Make(someDay)
				return err
			}
			return create, func(fault string) {
				if k != nil {
					t.Errorf("%s: a key was handed out", fault)
				}
				first := made(t, newRing(t, dir, master, durable.Disk{}), someDay)
				if again := made(t, newRing(t, dir, master, durable.Disk{}), someDay); !bytes.Equal(again.one, first.one) {
					t.Errorf("%s: two keys of one day", fault)
				}
				if files, err := os.ReadDir(dir); err != nil || len(files) != 2 {
					t.Errorf("%s: %d files are left, %v", fault, len(files), err)
				}
			}
		})
	})
	t.Run("destroying", func(t *testing.T) {
		testkit.EachCrash(t, 4, func() (func(durable.Disk) error, func(string)) {
			dir, master := t.TempDir(), newMaster()
			made(t, newRing(t, dir, master, durable.Disk{}), someDay)
			var r *Ring[*key]
			destroy := func(disk durable.Disk) error {
				r = newRing(t, dir, master, disk)
				return r.Destroy(someDay)
			}
			return destroy, func(fault string) {
				if _, err := r.Make(someDay); !errors.Is(err, ErrNoKey) {
					t.Errorf("%s: a key half destroyed is handed out: %v", fault, err)
				}
				if err := newRing(t, dir, master, durable.Disk{}).Destroy(someDay); err != nil {
					t.Errorf("%s, repeated: %v", fault, err)
				}
				if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
					t.Errorf("%s: %d files are left, %v", fault, len(files), err)
				}
			}
		})
	})
}
