package daykey

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/day"
)

func TestADamagedKeyIsSetAsideAndGoesWithItsDay(t *testing.T) {
	for rule, damage := range map[string]func(b []byte) []byte{
		"empty":          func([]byte) []byte { return nil },
		"cut short":      func(b []byte) []byte { return b[:30] },
		"a bit turned":   func(b []byte) []byte { b[40] ^= 1; return b },
		"longer":         func(b []byte) []byte { return append(b, 0) },
		"another's text": func([]byte) []byte { return []byte("no key at all, but some text that is sixty bytes long......") },
	} {
		t.Run(rule, func(t *testing.T) {
			dir, master := t.TempDir(), newMaster()
			old := made(t, newRing(t, dir, master, durable.Disk{}), someDay)
			path := filepath.Join(dir, someDay.String()+suffix)
			good := testkit.Must(os.ReadFile(path))(t)
			testkit.Check(t, os.WriteFile(path, damage(bytes.Clone(good)), 0o600))

			r := newRing(t, dir, master, durable.Disk{})
			var told []string
			r.Damaged = func(d day.Day, path string) { told = append(told, d.String()+" "+filepath.Base(path)) }
			if _, err := r.Key(someDay); !errors.Is(err, ErrDamaged) {
				t.Errorf("read: %v, want ErrDamaged", err)
			}
			if _, err := r.Keys(someDay); !errors.Is(err, ErrDamaged) {
				t.Errorf("all keys: %v, want ErrDamaged", err)
			}
			unreadable := func(when string, want ...day.Day) {
				t.Helper()
				if got := testkit.Must(r.Unreadable())(t); !slices.Equal(got, want) {
					t.Errorf("%s: days that do not open are %v, want %v", when, got, want)
				}
			}
			unreadable("damaged", someDay)
			fresh := made(t, r, someDay)
			unreadable("set aside", someDay)
			if bytes.Equal(fresh.one, old.one) {
				t.Error("the damaged file gave its key")
			}
			aside := someDay.String() + ".key.damaged-1"
			if !slices.Equal(told, []string{someDay.String() + " " + aside}) {
				t.Errorf("told %q", told)
			}
			if days, err := r.SetAside(); err != nil || !slices.Equal(days, []day.Day{someDay}) {
				t.Errorf("set aside %v, %v", days, err)
			}
			if keys, err := r.Keys(someDay); err != nil || len(keys) != 1 || keys[0] != fresh {
				t.Errorf("%d keys open, %v; want the new one", len(keys), err)
			}
			// The operator puts it right from a backup: both keys serve from then on, after a restart too.
			testkit.Check(t, os.WriteFile(filepath.Join(dir, aside), good, 0o600))
			r = newRing(t, dir, master, durable.Disk{})
			unreadable("put right")
			keys := testkit.Must(r.Keys(someDay))(t)
			if len(keys) != 2 || !bytes.Equal(keys[0].one, fresh.one) || !bytes.Equal(keys[1].one, old.one) {
				t.Errorf("%d keys, want the one in use and the one put right", len(keys))
			}
			testkit.Check(t, os.WriteFile(path, damage(good), 0o600))
			r = newRing(t, dir, master, durable.Disk{})
			made(t, r, someDay) // a second time
			testkit.Check(t, r.Destroy(someDay))
			if left := testkit.Must(filepath.Glob(filepath.Join(dir, someDay.String()+"*")))(t); len(left) != 0 {
				t.Errorf("left of a destroyed day: %q", left)
			}
			if days, err := r.Days(); err != nil || len(days) != 0 {
				t.Errorf("days %v, %v", days, err)
			}
		})
	}
}

// A file set aside is found though its day has no other key, so that it is destroyed in time.
func TestADayWithoutAKeyInUseIsListed(t *testing.T) {
	dir := t.TempDir()
	r := newRing(t, dir, newMaster(), durable.Disk{})
	testkit.Check(t, os.WriteFile(filepath.Join(dir, someDay.String()+aside+"1"), []byte("x"), 0o600))
	if days, err := r.Days(); err != nil || !slices.Equal(days, []day.Day{someDay}) {
		t.Errorf("days %v, %v", days, err)
	}
}

// Under a wrong master key all days look damaged. They are not.
func TestAWrongMasterKeyIsToldFromDamage(t *testing.T) {
	master := newMaster()
	check := func(rule string, dir string, master []byte, want error) {
		t.Helper()
		before := testkit.Must(os.ReadDir(dir))(t)
		if _, err := Open(dir, master, derive, durable.Disk{}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", rule, err, want)
		}
		if after := testkit.Must(os.ReadDir(dir))(t); want != nil && len(after) != len(before) {
			t.Errorf("%s: %d files became %d", rule, len(before), len(after))
		}
	}
	dir := t.TempDir()
	made(t, newRing(t, dir, master, durable.Disk{}), someDay)
	check("another master key", dir, newMaster(), ErrMaster)
	testkit.Check(t, os.WriteFile(filepath.Join(dir, checkFile), []byte("torn"), 0o600))
	check("the check file torn, a day opens", dir, master, nil)
	check("and is whole again", dir, newMaster(), ErrMaster)
	testkit.Check(t, os.WriteFile(filepath.Join(dir, someDay.String()+suffix), []byte("torn"), 0o600))
	check("the only day torn", dir, master, nil)
	testkit.Check(t, os.Remove(filepath.Join(dir, checkFile)))
	check("nothing proves the master key", dir, master, ErrMaster)
}
