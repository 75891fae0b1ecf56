package boltcheck

import "bytes"

// tree walks the pages below id, whose keys must rise strictly and lie in [low, high), and calls each for every leaf element.
func (c *checker) tree(id uint64, low, high []byte, depth int, each func(flags uint32, key, value []byte) error) error {
	b, flags, count, err := c.page(id)
	if err != nil {
		return err
	}
	if depth > maxDepth {
		return damagef("tree is more than %d pages high", maxDepth)
	}
	switch flags {
	case leafFlag:
		return c.leaf(b, count, low, high, each)
	case branchFlag:
		return c.branch(b, count, low, high, depth, each)
	default:
		return damagef("page %d has type %#x", id, flags)
	}
}

func (c *checker) branch(b []byte, count int, low, high []byte, depth int, each func(uint32, []byte, []byte) error) error {
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
		if err := c.tree(child, keys[i], end, depth+1, each); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) leaf(b []byte, count int, low, high []byte, each func(uint32, []byte, []byte) error) error {
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
		if err := each(native.Uint32(e), key, value); err != nil {
			return err
		}
		last = append(last[:0], key)
	}
	return nil
}

// bucket walks one bucket of the root. Its value is root page u64 and sequence u64, followed by a page if the root page is 0.
func (c *checker) bucket(flags uint32, value []byte) error {
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
