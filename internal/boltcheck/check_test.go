package boltcheck

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/kipass/kipass/internal/testkit"
)

var buckets = [][]byte{[]byte("records"), []byte("empty"), []byte("inline")}

// sound returns a database with a bucket of several levels, an empty one, an inline one and free pages. Its content is
// the same every time.
func sound(t testing.TB) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sound.db")
	db := testkit.Must(bolt.Open(path, 0o600, &bolt.Options{PageSize: PageSize}))(t)
	testkit.Check(t, db.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		for n := range uint64(300) {
			value := bytes.Repeat([]byte{byte(n)}, 100)
			if n == 150 { // on pages of its own
				value = bytes.Repeat([]byte{1}, 3*PageSize)
			}
			if err := tx.Bucket(buckets[0]).Put(binary.BigEndian.AppendUint64(nil, n), value); err != nil {
				return err
			}
		}
		return tx.Bucket(buckets[2]).Put([]byte("key"), []byte("value"))
	}))
	testkit.Check(t, db.Update(func(tx *bolt.Tx) error {
		for n := range uint64(100) {
			if err := tx.Bucket(buckets[0]).Delete(binary.BigEndian.AppendUint64(nil, n)); err != nil {
				return err
			}
		}
		return nil
	}))
	testkit.Check(t, db.Close())
	return testkit.Must(os.ReadFile(path))(t)
}

// check checks a file of these bytes.
func check(b []byte, names ...[]byte) (torn string, err error) {
	return checkPages(bytes.NewReader(b), int64(len(b)), names)
}

func page(b []byte, n int) []byte { return b[n*PageSize : (n+1)*PageSize] }

// ruling returns the head of the meta page that rules, after the page's own.
func ruling(b []byte) []byte {
	m0, m1 := page(b, 0)[pageHead:], page(b, 1)[pageHead:]
	if native.Uint64(m1[48:]) > native.Uint64(m0[48:]) {
		return m1
	}
	return m0
}

// forge changes every page but the metas.
func forge(b []byte, change func(id int, p []byte)) []byte {
	for id := 2; (id+1)*PageSize <= len(b); id++ {
		change(id, page(b, id))
	}
	return b
}

// selfRefer makes a page a branch whose only child is itself.
func selfRefer(id int, p []byte) {
	clear(p)
	native.PutUint64(p, uint64(id))
	native.PutUint16(p[8:], branchFlag)
	native.PutUint16(p[10:], 1)
	native.PutUint64(p[pageHead+8:], uint64(id))
}

func TestCheck(t *testing.T) {
	whole := sound(t)
	for _, c := range []struct {
		rule   string
		damage func(b []byte) []byte
		torn   string // what torn says
		err    string // what the error says; empty: none
	}{
		{"a sound file passes", func(b []byte) []byte { return b }, "", ""},
		{"what lies after the last page is of no interest", func(b []byte) []byte { return append(b, make([]byte, 3*PageSize+1)...) }, "", ""},
		{"without its first meta page the last commit may be lost", func(b []byte) []byte { clear(page(b, 0)); return b }, "meta page 0 is unusable (not a database)", ""},
		{"and so without its second", func(b []byte) []byte { page(b, 1)[pageHead+20]++; return b }, "meta page 1 is unusable (checksum does not match)", ""},
		{"without both there is nothing", func(b []byte) []byte { clear(b[:2*PageSize]); return b }, "", "neither meta page"},
		{"an empty file", func([]byte) []byte { return nil }, "", "neither meta page"},
		{"a short file", func([]byte) []byte { return []byte{1} }, "", "neither meta page"},
		{"a file cut short", func(b []byte) []byte { return b[:(native.Uint64(ruling(b)[40:])-1)*PageSize] }, "", "pages in a file of"},
		{"not a database", func(b []byte) []byte { return bytes.Repeat([]byte("kipass "), len(b)/7) }, "", "neither meta page"},
		{"no tree", func(b []byte) []byte { clear(b[2*PageSize:]); return b }, "", "does not hold what it should"},
		{"a page that is its own child", func(b []byte) []byte { return forge(b, selfRefer) }, "", "in use twice"},
		{"an overflow beyond the file", func(b []byte) []byte {
			return forge(b, func(_ int, p []byte) { native.PutUint32(p[12:], 0xFFFFFFF0) })
		}, "", "does not hold what it should"},
		{"more elements than a page holds", func(b []byte) []byte {
			return forge(b, func(_ int, p []byte) { native.PutUint16(p[10:], 0xFFFF) })
		}, "", "with 65535 elements"},
		{"a page of no known type", func(b []byte) []byte {
			return forge(b, func(_ int, p []byte) { native.PutUint16(p[8:], 0x40) })
		}, "", "has type 0x40"},
		{"an element that points out of its page", func(b []byte) []byte {
			return forge(b, func(_ int, p []byte) { native.PutUint32(p[pageHead+4:], PageSize) })
		}, "", "out of place"},
		{"a page in use that is listed as free", func(b []byte) []byte {
			list := page(b, int(native.Uint64(ruling(b)[32:])))
			if native.Uint16(list[10:]) == 0 {
				panic("the file has no free pages")
			}
			native.PutUint64(list[pageHead:], native.Uint64(ruling(b)[16:]))
			return b
		}, "", "is listed as free"},
		{"a list of free pages that is too long", func(b []byte) []byte {
			native.PutUint16(page(b, int(native.Uint64(ruling(b)[32:])))[10:], PageSize)
			return b
		}, "", "is no list of free pages"},
	} {
		torn, err := check(c.damage(bytes.Clone(whole)), buckets...)
		if c.err == "" && (err != nil || !strings.HasPrefix(torn, c.torn) || (torn == "") != (c.torn == "")) {
			t.Errorf("%s: torn %q, %v; want %q", c.rule, torn, err, c.torn)
		}
		if c.err != "" && (!errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %v, want an error that says %q", c.rule, err, c.err)
		}
	}
}

// A branch's keys bound those of the pages below it: out of order, bbolt would not find what is there.
func TestKeysOutOfOrder(t *testing.T) {
	whole := sound(t)
	swapped := 0
	for id := 2; (id+1)*PageSize <= len(whole); id++ {
		p := page(whole, id)
		if native.Uint16(p[8:]) != leafFlag || native.Uint16(p[10:]) < 2 || native.Uint64(p) != uint64(id) {
			continue
		}
		b := bytes.Clone(whole)
		first, second := b[id*PageSize+pageHead:], b[id*PageSize+pageHead+elementSize:] // and on into pages that follow
		if native.Uint32(first[8:]) != 8 || native.Uint32(second[8:]) != 8 {            // keys of records have 8 bytes
			continue
		}
		copy(first[native.Uint32(first[4:]):][:8], second[native.Uint32(second[4:]):][:8])
		if _, err := check(b, buckets...); err != nil {
			swapped++
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "key out of place") {
				t.Errorf("page %d: %v", id, err)
			}
		}
	}
	if swapped == 0 {
		t.Error("no page in use was found to change")
	}
}

func TestBucketsAreThoseNamed(t *testing.T) {
	whole := sound(t)
	for rule, names := range map[string][][]byte{
		"one too few": buckets[:2], "one too many": append(buckets[:3:3], []byte("more")), "another name": {buckets[0], buckets[1], []byte("other")},
	} {
		if _, err := check(whole, names...); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", rule, err)
		}
	}
	path := filepath.Join(t.TempDir(), "nested.db")
	db := testkit.Must(bolt.Open(path, 0o600, &bolt.Options{PageSize: PageSize}))(t)
	testkit.Check(t, db.Update(func(tx *bolt.Tx) error {
		outer, err := tx.CreateBucket([]byte("outer"))
		if err == nil {
			_, err = outer.CreateBucket([]byte("inner"))
		}
		return err
	}))
	testkit.Check(t, db.Close())
	if _, err := Check(path, []byte("outer")); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "bucket within a bucket") {
		t.Errorf("a bucket within a bucket: %v", err)
	}
	if _, err := Check(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// walk has bbolt read all of a file that passed.
func walk(t *testing.T, b []byte) error {
	path := filepath.Join(t.TempDir(), "walk.db")
	testkit.Check(t, os.WriteFile(path, b, 0o600))
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, PageSize: PageSize})
	if err != nil {
		return err
	}
	read := fnv.New64a() // so that every byte is looked at
	err = db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				_, err := read.Write(append(bytes.Clone(k), v...))
				return err
			})
		})
	})
	return errors.Join(err, db.Close())
}

// Whatever bytes are changed: what passes, bbolt can walk.
func TestWhatPassesCanBeWalked(t *testing.T) {
	whole := sound(t)
	random := rand.New(rand.NewPCG(1, 2))
	passed := 0
	for range 500 {
		b := bytes.Clone(whole)
		for range 1 + random.IntN(3) {
			at := random.IntN(len(b))
			if random.IntN(2) == 0 {
				at = at/PageSize*PageSize + random.IntN(200) // where the structure is
			}
			b[min(at, len(b)-1)] ^= byte(1 + random.IntN(255))
		}
		if _, err := check(b, buckets...); err != nil {
			continue
		}
		passed++
		testkit.Check(t, walk(t, b))
	}
	if passed == 0 || passed == 500 {
		t.Errorf("%d of 500 damaged files passed", passed)
	}
}

func FuzzCheck(f *testing.F) {
	whole := sound(f)
	f.Add(uint32(0), []byte{0}, uint32(0))
	f.Add(uint32(3*PageSize+8), []byte{1, 0}, uint32(0))
	f.Add(uint32(5*PageSize+12), []byte{255, 255, 255, 255}, uint32(5*PageSize))
	f.Add(uint32(0), []byte{}, uint32(PageSize))
	f.Fuzz(func(t *testing.T, at uint32, put []byte, length uint32) {
		b := bytes.Clone(whole)
		copy(b[int(at)%len(b):], put)
		if length > 0 {
			b = b[:int(length)%len(b)]
		}
		if _, err := check(b, buckets...); err == nil {
			testkit.Check(t, walk(t, b))
		} else if !errors.Is(err, ErrDamaged) {
			t.Error(err)
		}
	})
}
