package sim

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/kipass/kipass/internal/boltcheck"
	"github.com/kipass/kipass/protocol/visit"
)

// carved is what a thief finds in the raw bytes of a gate's file: every epoch and every sealed record of any page of bbolt's,
// those of free pages included, whatever the file is called and whether or not a program would open it.
type carved struct {
	epochs  []visit.Epoch // descending by the sequence they begin with
	records []visit.Sealed
}

// Of firmware/journal: an epoch's value is day, proven and begin, the name of the key, the encapsulation, and a checksum.
const (
	epochHead = 4 + 1 + 8
	epochSize = epochHead + len(visit.SealKeyID{}) + visit.EncSize + 4
)

// carve takes a file to pieces.
func carve(file []byte) (c carved) {
	for at := 0; at+boltcheck.PageSize <= len(file); at += boltcheck.PageSize {
		carveLeaf(file[at:], c.take)
	}
	slices.SortFunc(c.epochs, func(a, b visit.Epoch) int { return cmp.Compare(b.First, a.First) })
	return c
}

// take sorts what stands under one key: records and epochs stand under their sequence.
func (c *carved) take(key, value []byte) {
	if len(key) != 8 {
		return
	}
	seq := binary.BigEndian.Uint64(key)
	if len(value) == epochSize {
		e := visit.Epoch{First: seq}
		rest := value[epochHead:]
		rest = rest[copy(e.Key[:], rest):]
		e.Enc = rest[:visit.EncSize]
		c.epochs = append(c.epochs, e)
		return
	}
	c.records = append(c.records, visit.Sealed{Seq: seq, Data: value})
	if n := 1 + int(value[0]); n+4 < len(value) { // in quarantine: after the reason, before a checksum
		c.records = append(c.records, visit.Sealed{Seq: seq, Data: value[n : len(value)-4]})
	}
}

// carveLeaf finds what a leaf page of bbolt's holds, buckets within it included. It trusts nothing that it reads.
func carveLeaf(page []byte, found func(key, value []byte)) {
	const (
		head, element    = 16, 16
		leaf, bucketFlag = 2, 1
		bucketHead       = 16 // before the page of a bucket that lies within its parent's
	)
	if len(page) < head || binary.LittleEndian.Uint16(page[8:])&leaf == 0 {
		return
	}
	for n := range int(binary.LittleEndian.Uint16(page[10:])) {
		at := head + n*element
		if at+element > len(page) {
			return
		}
		flags := binary.LittleEndian.Uint32(page[at:])
		begin := uint64(at) + uint64(binary.LittleEndian.Uint32(page[at+4:]))
		middle := begin + uint64(binary.LittleEndian.Uint32(page[at+8:]))
		end := middle + uint64(binary.LittleEndian.Uint32(page[at+12:]))
		if end > uint64(len(page)) || end == middle {
			continue
		}
		value := page[middle:end]
		if flags&bucketFlag == 0 {
			found(page[begin:middle], value)
		} else if len(value) > bucketHead {
			carveLeaf(value[bucketHead:], found)
		}
	}
}
