package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// The form of a bbolt file (its version 2), as far as a check needs it. bbolt follows page numbers, offsets and lengths
// it finds in the file without looking whether they can be true: on a damaged file it may fault, loop for ever or exhaust
// the stack, which no caller can recover from. So every page that can be reached is looked at here first, with reads that
// cannot fault, and bbolt sees only files that passed.
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

	maxDepth    = 32   // a tree of 4 KiB pages is never so high
	maxOverflow = 1024 // pages that follow one: the list of free pages of a file of 2 GiB has fewer
)

var native = binary.NativeEndian

// boltMeta is one of the two meta pages: the newer valid one rules.
type boltMeta struct {
	root, freelist, pages, txid uint64
}

// pageChecker walks one file.
type pageChecker struct {
	file io.ReaderAt
	meta boltMeta
	seen map[uint64]bool // pages in use
}

// checkFile reads all of a journal file that can be reached and returns an error wrapping errDamaged if its structure
// does not hold together. torn is not empty if one of the meta pages is unusable: what it described, at most the last
// commit, is lost, and the file is otherwise sound.
func checkFile(path string) (torn string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	return checkPages(f, info.Size())
}

func checkPages(file io.ReaderAt, size int64) (torn string, err error) {
	c := &pageChecker{file: file, seen: map[uint64]bool{0: true, 1: true}}
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
	if c.meta.pages < 4 || c.meta.pages > uint64(size)/pageSize {
		return "", damagef("%d pages in a file of %d bytes", c.meta.pages, size)
	}
	var buckets [][]byte
	err = c.tree(c.meta.root, nil, nil, 0, func(flags uint32, key, value []byte) error {
		buckets = append(buckets, bytes.Clone(key))
		return c.bucket(flags, value)
	})
	if err != nil {
		return "", err
	}
	if err := c.freelist(); err != nil {
		return "", err
	}
	want := [][]byte{bucketEpochs, bucketMeta, bucketQuarantine, bucketRecords}
	if len(buckets) != len(want) {
		return "", damagef("%d buckets, must be %d", len(buckets), len(want))
	}
	for i, name := range want {
		if !bytes.Equal(buckets[i], name) {
			return "", damagef("bucket %d has an unexpected name", i)
		}
	}
	return torn, nil
}

func damagef(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errDamaged, fmt.Sprintf(format, args...))
}

func (c *pageChecker) readMeta(id uint64) (boltMeta, error) {
	b, err := c.read(id, 1)
	if err != nil {
		return boltMeta{}, err
	}
	b = b[pageHead:]
	// magic, version, page size, flags, root page, root sequence, freelist, high water mark, txid, checksum
	sum := fnv.New64a()
	_, _ = sum.Write(b[:56])
	switch {
	case native.Uint32(b) != boltMagic || native.Uint32(b[4:]) != boltVersion:
		return boltMeta{}, errors.New("not a database")
	case native.Uint64(b[56:]) != sum.Sum64():
		return boltMeta{}, errors.New("checksum does not match")
	case native.Uint32(b[8:]) != pageSize:
		return boltMeta{}, fmt.Errorf("page size %d", native.Uint32(b[8:]))
	}
	return boltMeta{root: native.Uint64(b[16:]), freelist: native.Uint64(b[32:]), pages: native.Uint64(b[40:]), txid: native.Uint64(b[48:])}, nil
}

// read returns n pages beginning at id. A read that the device refuses is damage.
func (c *pageChecker) read(id, n uint64) ([]byte, error) {
	b := make([]byte, n*pageSize)
	if _, err := c.file.ReadAt(b, int64(id*pageSize)); err != nil {
		return nil, damagef("page %d cannot be read: %v", id, err)
	}
	return b, nil
}

// page reads a page with its overflow, once only.
func (c *pageChecker) page(id uint64) (body []byte, flags uint16, count int, err error) {
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

// tree walks the pages below id, whose keys must rise strictly and lie in [low, high), and shows each leaf element to visit.
func (c *pageChecker) tree(id uint64, low, high []byte, depth int, visit func(flags uint32, key, value []byte) error) error {
	b, flags, count, err := c.page(id)
	if err != nil {
		return err
	}
	if depth > maxDepth {
		return damagef("tree is more than %d pages high", maxDepth)
	}
	switch flags {
	case leafFlag:
		return c.leaf(b, count, low, high, visit)
	case branchFlag:
		return c.branch(b, count, low, high, depth, visit)
	default:
		return damagef("page %d has type %#x", id, flags)
	}
}

func (c *pageChecker) branch(b []byte, count int, low, high []byte, depth int, visit func(uint32, []byte, []byte) error) error {
	keys := make([][]byte, count)
	children := make([]uint64, count)
	if count == 0 || pageHead+count*elementSize > len(b) {
		return damagef("branch page with %d children", count)
	}
	for i := range count {
		e := b[pageHead+i*elementSize:] // position u32 from the element, key size u32, page u64
		key, ok := cut(e, native.Uint32(e), native.Uint32(e[4:]))
		if !ok || !rises(keys[:i], key, low, high) {
			return damagef("branch page with a key out of place")
		}
		keys[i], children[i] = key, native.Uint64(e[8:])
	}
	for i, child := range children {
		end := high
		if i+1 < count {
			end = keys[i+1]
		}
		if err := c.tree(child, keys[i], end, depth+1, visit); err != nil {
			return err
		}
	}
	return nil
}

func (c *pageChecker) leaf(b []byte, count int, low, high []byte, visit func(uint32, []byte, []byte) error) error {
	if pageHead+count*elementSize > len(b) {
		return damagef("leaf page with %d elements", count)
	}
	var last [][]byte
	for i := range count {
		e := b[pageHead+i*elementSize:] // flags u32, position u32 from the element, key size u32, value size u32
		pos, keySize, valueSize := native.Uint32(e[4:]), native.Uint32(e[8:]), native.Uint32(e[12:])
		key, ok := cut(e, pos, keySize)
		if !ok || !rises(last, key, low, high) {
			return damagef("leaf page with a key out of place")
		}
		value, ok := cut(e[pos:], keySize, valueSize)
		if !ok {
			return damagef("leaf page with a value out of place")
		}
		if err := visit(native.Uint32(e), key, value); err != nil {
			return err
		}
		last = append(last[:0], key)
	}
	return nil
}

// bucket walks one bucket of the root. Its value is root page u64 and sequence u64, followed by a page if the root page is 0.
func (c *pageChecker) bucket(flags uint32, value []byte) error {
	if flags != bucketFlag || len(value) < 16 {
		return damagef("an element of the root is not a bucket")
	}
	pairs := func(flags uint32, _, _ []byte) error {
		if flags != 0 {
			return damagef("a bucket within a bucket")
		}
		return nil
	}
	if root := native.Uint64(value); root != 0 {
		return c.tree(root, nil, nil, 0, pairs)
	}
	b := value[16:]
	if len(b) < pageHead || native.Uint64(b) != 0 || native.Uint16(b[8:]) != leafFlag || native.Uint32(b[12:]) != 0 {
		return damagef("an inline bucket holds no leaf page")
	}
	return c.leaf(b, int(native.Uint16(b[10:])), nil, nil, pairs)
}

// freelist checks that every page listed as free exists and is not in use: bbolt would write over it.
func (c *pageChecker) freelist() error {
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

// cut returns b[pos:pos+size] if b has it.
func cut(b []byte, pos, size uint32) ([]byte, bool) {
	if uint64(pos)+uint64(size) > uint64(len(b)) {
		return nil, false
	}
	return b[pos : pos+size], true
}

// rises tells whether key comes after the last of before and lies in [low, high); nil bounds do not bind.
func rises(before [][]byte, key, low, high []byte) bool {
	if len(before) > 0 && bytes.Compare(before[len(before)-1], key) >= 0 {
		return false
	}
	return bytes.Compare(key, low) >= 0 && (high == nil || bytes.Compare(key, high) < 0)
}
