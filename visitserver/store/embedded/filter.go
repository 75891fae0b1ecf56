package embedded

import (
	"context"
	"encoding/binary"
	"hash/maphash"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/store"
)

// filter tells of most visits that they are new without asking the database: a Bloom filter that grows by layers, each
// four times as large as the one before, with all bits of a key in one cache line. It never denies a key it was given.
// At 16 bits per key, about one new key in 300 is looked up in vain.
type filter struct {
	mu     sync.Mutex
	layers []filterLayer // the last one takes new keys
}

type filterLayer struct {
	lines [][8]uint64 // 512 bits each; a power of two of them
	free  int         // keys it can still take
}

const (
	firstLayer  = 1 << 16 // keys
	layerGrowth = 4
	lineKeys    = 32 // keys per line of 512 bits
	bitsPerKey  = 6
)

// filterKey is what a filter keeps of a facility's blind index; the index is itself a keyed digest, hence uniform.
type filterKey struct{ line, bits uint64 }

func newFilterKey(facility uint64, b store.Blind) filterKey {
	return filterKey{binary.BigEndian.Uint64(b[:8]) ^ facility, binary.BigEndian.Uint64(b[8:]) + facility}
}

// has reports whether k may have been added. The caller holds mu.
func (f *filter) has(k filterKey) bool {
	for i := range f.layers {
		if f.layers[i].has(k) {
			return true
		}
	}
	return false
}

func (l *filterLayer) has(k filterKey) bool {
	line := &l.lines[k.line&uint64(len(l.lines)-1)]
	for i := range bitsPerKey {
		bit := k.bits >> (9 * i) & 511
		if line[bit/64]&(1<<(bit%64)) == 0 {
			return false
		}
	}
	return true
}

// add adds k. The caller holds mu.
func (f *filter) add(k filterKey) {
	if n := len(f.layers); n == 0 || f.layers[n-1].free == 0 {
		keys := firstLayer
		for range n {
			keys *= layerGrowth
		}
		f.layers = append(f.layers, filterLayer{lines: make([][8]uint64, keys/lineKeys), free: keys})
	}
	l := &f.layers[len(f.layers)-1]
	l.free--
	line := &l.lines[k.line&uint64(len(l.lines)-1)]
	for i := range bitsPerKey {
		bit := k.bits >> (9 * i) & 511
		line[bit/64] |= 1 << (bit % 64)
	}
}

func (s *Store) facilityHash(f visit.Facility) uint64 { return maphash.String(s.seed, string(f)) }

// fill makes the filter of a day from its index. Nobody else uses the database meanwhile.
func (s *Store) fill(db *pebble.DB) (*filter, error) {
	f := &filter{}
	err := scan(context.Background(), db, []byte{'x'}, []byte{'x' + 1}, func(k, _ []byte) (bool, error) {
		f.add(newFilterKey(s.facilityHash(visit.Facility(k[17:])), store.Blind(k[1:17])))
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// maxFilters is how many days have a filter: the newest written to. Visits of older days, which come late, are looked up.
const maxFilters = 4

// admitFilter decides whether day d shall have a filter, and takes it from the oldest day that has one if they are too
// many.
func (s *Store) admitFilter(d day.Day) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest, n := d, 1
	for other, p := range s.days {
		if p.filter.Load() != nil {
			n++
			oldest = min(oldest, other)
		}
	}
	if n <= maxFilters {
		return true
	}
	if oldest == d {
		return false
	}
	s.days[oldest].filter.Store(nil)
	return true
}
