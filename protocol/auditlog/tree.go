package auditlog

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// tree is the Merkle tree of RFC 6962 section 2.1 over the leaves, every node kept, in the order of
// tlog.StoredHashIndex. A log holds one leaf for each order and each day destroyed: memory is no concern.
type tree struct {
	size   int64
	hashes []tlog.Hash
}

// ReadHashes implements tlog.HashReader.
func (t *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if x < 0 || x >= int64(len(t.hashes)) {
			return nil, fmt.Errorf("tree of %d leaves has no node %d", t.size, x)
		}
		out[i] = t.hashes[x]
	}
	return out, nil
}

func (t *tree) add(leaf []byte) error {
	h, err := tlog.StoredHashes(t.size, leaf, t)
	if err != nil {
		return fmt.Errorf("hashing entry %d: %w", t.size, err)
	}
	t.hashes = append(t.hashes, h...)
	t.size++
	return nil
}

func (t *tree) root() (tlog.Hash, error) { return tlog.TreeHash(t.size, t) }
