// Package boltcheck reads a bbolt file (its format version 2, pages of 4,096 bytes, of a machine of the same byte order)
// before bbolt does, and says what is torn.
//
// bbolt follows the page numbers, offsets and lengths it finds in a file without looking whether they can be true: on a
// damaged file it may fault, loop for ever or exhaust the stack, which no caller can recover from. Check reads every
// page that can be reached, with reads that cannot fault: bbolt can walk a file that passed.
//
// It knows the buckets of the top level by name and lets none lie within another. Pages that are neither in use nor
// listed as free only waste space, and pass.
package boltcheck

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"slices"
)

// PageSize is the size in bytes of a file's pages. A file of another page size does not pass.
const PageSize = 4096

// ErrDamaged is wrapped by the error of a file that does not hold together.
var ErrDamaged = errors.New("database file is damaged")

const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHead    = 16 // id u64, flags u16, count u16, overflow u32
	elementSize = 16

	branchFlag   = 0x01
	leafFlag     = 0x02
	freelistFlag = 0x10

	bucketFlag = 0x01
	noFreelist = ^uint64(0)

	maxDepth    = 32      // a tree of 4 KiB pages is never so high
	maxOverflow = 1 << 14 // pages that follow one: the list of the free pages of a file of 32 GiB has fewer
)

var native = binary.NativeEndian

// meta is one of the two meta pages: the newer valid one rules.
type meta struct {
	root, freelist, pages, txid uint64
}

// checker walks one file.
type checker struct {
	file io.ReaderAt
	meta meta
	seen map[uint64]bool // pages in use
}

// Check reads all of the file at path that can be reached. It returns an error wrapping [ErrDamaged] if its structure does
// not hold together or its buckets are not those named. torn is not empty if one of the two meta pages is unusable: what
// it described, at most the last commit, is lost, and the file is otherwise sound. Nobody may write to the file meanwhile.
func Check(path string, buckets ...[]byte) (torn string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	return checkPages(f, info.Size(), buckets)
}

func checkPages(file io.ReaderAt, size int64, want [][]byte) (torn string, err error) {
	c := &checker{file: file, seen: map[uint64]bool{0: true, 1: true}}
	if torn, err = c.newerMeta(); err != nil {
		return "", err
	}
	if c.meta.pages < 4 || c.meta.pages > uint64(size)/PageSize {
		return "", damagef("%d pages in a file of %d bytes", c.meta.pages, size)
	}
	var found [][]byte
	err = c.tree(c.meta.root, nil, nil, 0, func(flags uint32, key, value []byte) error {
		found = append(found, bytes.Clone(key))
		return c.bucket(flags, value)
	})
	if err != nil {
		return "", err
	}
	if err := c.freelist(); err != nil {
		return "", err
	}
	if len(found) != len(want) {
		return "", damagef("%d buckets, want %d", len(found), len(want))
	}
	want = slices.SortedFunc(slices.Values(want), bytes.Compare)
	for i, name := range want {
		if !bytes.Equal(found[i], name) {
			return "", damagef("bucket %d has an unexpected name", i)
		}
	}
	return torn, nil
}

func damagef(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// newerMeta chooses the meta page that rules, as bbolt does.
func (c *checker) newerMeta() (torn string, err error) {
	m0, err0 := c.readMeta(0)
	m1, err1 := c.readMeta(1)
	switch {
	case err0 != nil && err1 != nil:
		return "", damagef("neither meta page is usable: %v; %v", err0, err1)
	case err0 != nil:
		c.meta, torn = m1, fmt.Sprintf("meta page 0 is unusable (%v): the last commit may be lost", err0)
	case err1 != nil:
		c.meta, torn = m0, fmt.Sprintf("meta page 1 is unusable (%v): the last commit may be lost", err1)
	case m1.txid > m0.txid:
		c.meta = m1
	default:
		c.meta = m0
	}
	return torn, nil
}

func (c *checker) readMeta(id uint64) (meta, error) {
	b, err := c.read(id, 1)
	if err != nil {
		return meta{}, err
	}
	b = b[pageHead:]
	// magic, version, page size, flags, root page, root sequence, freelist, high water mark, txid, checksum
	sum := fnv.New64a()
	_, _ = sum.Write(b[:56])
	switch {
	case native.Uint32(b) != boltMagic || native.Uint32(b[4:]) != boltVersion:
		return meta{}, errors.New("not a database")
	case native.Uint64(b[56:]) != sum.Sum64():
		return meta{}, errors.New("checksum does not match")
	case native.Uint32(b[8:]) != PageSize:
		return meta{}, fmt.Errorf("page size %d", native.Uint32(b[8:]))
	}
	return meta{root: native.Uint64(b[16:]), freelist: native.Uint64(b[32:]), pages: native.Uint64(b[40:]), txid: native.Uint64(b[48:])}, nil
}

// read returns n pages beginning at id. A read that the device refuses is damage.
func (c *checker) read(id, n uint64) ([]byte, error) {
	b := make([]byte, n*PageSize)
	if _, err := c.file.ReadAt(b, int64(id*PageSize)); err != nil {
		return nil, damagef("page %d cannot be read: %v", id, err)
	}
	return b, nil
}

// page reads a page with its overflow, once only.
func (c *checker) page(id uint64) (body []byte, flags uint16, count int, err error) {
	if id < 2 || id >= c.meta.pages {
		return nil, 0, 0, damagef("page %d is referred to, there are %d", id, c.meta.pages)
	}
	b, err := c.read(id, 1)
	if err != nil {
		return nil, 0, 0, err
	}
	over := uint64(native.Uint32(b[12:]))
	if native.Uint64(b) != id || over >= c.meta.pages-id || over > maxOverflow {
		return nil, 0, 0, damagef("page %d does not hold what it should", id)
	}
	for n := id; n <= id+over; n++ {
		if c.seen[n] {
			return nil, 0, 0, damagef("page %d is in use twice", n)
		}
		c.seen[n] = true
	}
	if over > 0 {
		if b, err = c.read(id, over+1); err != nil {
			return nil, 0, 0, err
		}
	}
	return b, native.Uint16(b[8:]), int(native.Uint16(b[10:])), nil
}

// freelist checks that every page listed as free exists and is not in use: bbolt would write over it.
func (c *checker) freelist() error {
	if c.meta.freelist == noFreelist {
		return nil
	}
	b, flags, count, err := c.page(c.meta.freelist)
	if err != nil {
		return err
	}
	list, n := b[pageHead:], uint64(count)
	if count == 0xFFFF { // then the first entry is the count
		n, list = native.Uint64(list), list[8:]
	}
	if flags != freelistFlag || n > uint64(len(list)/8) {
		return damagef("page %d is no list of free pages", c.meta.freelist)
	}
	free := make(map[uint64]bool, n)
	for i := range n {
		id := native.Uint64(list[i*8:])
		if id < 2 || id >= c.meta.pages || c.seen[id] || free[id] {
			return damagef("page %d is listed as free", id)
		}
		free[id] = true
	}
	return nil
}
