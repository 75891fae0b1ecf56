package daykey

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/kipass/kipass/visit"
	"github.com/kipass/kipass/visitserver/store"
)

var day = visit.DayOf(time.Date(2020, 7, 1, 0, 0, 0, 0, visit.Seoul()))

func newRing(t *testing.T, dir string, master []byte) *Ring {
	t.Helper()
	r, err := Open(dir, master)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newMaster() []byte {
	b := make([]byte, masterSize)
	_, _ = rand.Read(b)
	return b
}

func sample(issuer string) visit.Visit {
	v := visit.Visit{At: day.Start().Add(time.Hour).UTC(), Issuer: issuer, Clock: visit.ClockSynced}
	_, _ = rand.Read(v.CTI[:])
	return v
}

func TestAKeyOpensWhatItSealedAlsoAfterOpeningAgain(t *testing.T) {
	dir, master := t.TempDir(), newMaster()
	k, err := newRing(t, dir, master).Make(day)
	if err != nil {
		t.Fatal(err)
	}
	v := sample("naver")
	row, err := k.Seal("cafe", "door", v.At, v)
	if err != nil {
		t.Fatal(err)
	}
	again, err := newRing(t, dir, master).Key(day)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Open("cafe", row); err != nil || got != v {
		t.Errorf("opened another visit: %v", err)
	}
	if again.Blind(v.Issuer, v.CTI) != row.Blind || again.Blind("pass", v.CTI) == row.Blind {
		t.Error("blind index is not of issuer and code")
	}
	if _, err := newRing(t, dir, newMaster()).Key(day); !errors.Is(err, ErrDamaged) {
		t.Errorf("under another master key: %v", err)
	}
}

func TestARowMovedOrChangedDoesNotOpen(t *testing.T) {
	r := newRing(t, t.TempDir(), newMaster())
	k, err := r.Make(day)
	if err != nil {
		t.Fatal(err)
	}
	other, err := r.Make(day + 1)
	if err != nil {
		t.Fatal(err)
	}
	v := sample("naver")
	row, err := k.Seal("cafe", "door", v.At, v)
	if err != nil {
		t.Fatal(err)
	}
	change := func(f func(*store.Row)) store.Row {
		r := row
		r.Sealed = bytes.Clone(row.Sealed)
		f(&r)
		return r
	}
	for rule, c := range map[string]struct {
		k *Key
		f visit.Facility
		r store.Row
	}{
		"another facility": {k, "club", row},
		"another gate":     {k, "cafe", change(func(r *store.Row) { r.Gate = "back" })},
		"another time":     {k, "cafe", change(func(r *store.Row) { r.At = r.At.Add(time.Millisecond) })},
		"another index":    {k, "cafe", change(func(r *store.Row) { r.Blind[0] ^= 1 })},
		"another byte":     {k, "cafe", change(func(r *store.Row) { r.Sealed[20] ^= 1 })},
		"cut short":        {k, "cafe", change(func(r *store.Row) { r.Sealed = r.Sealed[:5] })},
		"another day":      {other, "cafe", row},
	} {
		if _, err := c.k.Open(c.f, c.r); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", rule, err)
		}
	}
	again, err := k.Seal("cafe", "door", v.At, v)
	if err != nil || bytes.Equal(again.Sealed, row.Sealed) || other.Blind(v.Issuer, v.CTI) == row.Blind {
		t.Errorf("ciphertexts or indices of two seals can be linked: %v", err)
	}
}

func TestADestroyedKeyIsGoneAndNotMadeAgain(t *testing.T) {
	dir, master := t.TempDir(), newMaster()
	r := newRing(t, dir, master)
	if _, err := r.Key(day); !errors.Is(err, ErrNoKey) {
		t.Errorf("a key never made: %v", err)
	}
	if _, err := r.Make(day); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, day.String()+suffix)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	keep := filepath.Join(t.TempDir(), "link") // shows what becomes of the file's bytes
	if err := os.Link(path, keep); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.Destroy(day); err != nil {
			t.Fatal(err)
		}
	}
	after, err := os.ReadFile(keep)
	if err != nil || len(after) != len(before) || bytes.Contains(after, before[12:28]) {
		t.Errorf("the file was not overwritten: %v", err)
	}
	for rule, f := range map[string]func(visit.Day) (*Key, error){"had": r.Key, "made": r.Make} {
		if _, err := f(day); !errors.Is(err, ErrNoKey) {
			t.Errorf("a destroyed key was %s: %v", rule, err)
		}
	}
	if days, err := r.Days(); err != nil || len(days) != 0 {
		t.Errorf("days %v, %v", days, err)
	}
	again := newRing(t, dir, master)
	again.Forbid(day)
	if _, err := again.Make(day); !errors.Is(err, ErrNoKey) {
		t.Errorf("a forbidden day got a key: %v", err)
	}
}

func TestConcurrentMakersGetOneKey(t *testing.T) {
	r := newRing(t, t.TempDir(), newMaster())
	var wg sync.WaitGroup
	keys := make([]*Key, 8)
	for i := range keys {
		wg.Go(func() {
			var err error
			if keys[i], err = r.Make(day); err != nil {
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

func TestLeftoversAndDamage(t *testing.T) {
	dir := t.TempDir()
	half := filepath.Join(dir, day.String()+suffix+newSuffix)
	if err := os.WriteFile(half, []byte("half a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	torn := filepath.Join(dir, (day+1).String()+suffix)
	if err := os.WriteFile(torn, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRing(t, dir, newMaster())
	if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a half-made key is left: %v", err)
	}
	if _, err := r.Make(day + 1); !errors.Is(err, ErrDamaged) {
		t.Errorf("a torn key file: %v, want ErrDamaged and no new key over it", err)
	}
	if _, err := Open(dir, make([]byte, 5)); err == nil {
		t.Error("a short master key was taken")
	}
}
