package embedded

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/store"
)

// Keys of a day's database; names are free of NUL, so one ends them:
//
//	'v' facility 0 time(8) blind(16) → gate length(1) gate, ciphertext    place and window
//	'x' blind(16) facility           → time(8)                            identity, and lookup by code
//	'c' facility 0 gate 0 hour(1)    → count(8), merged: see sums
//	'r' table 0 key                  → generation(8) order(8) held(1) value  of the register, carried here: see carry
//
// Keys of the register's database:
//
//	'r' table 0 key                            → value
//	'c' day(4) facility 0 gate 0 hour(1)       → count(8), of retired days
//	'd' day(4)                                 → visits(8) digest(32) uncounted(1), of retired days
//	'n' day(4)                                 → visits(8), merged, that the day's database holds at least; until it is retired
//	'o' day(4)                                 → nothing: the day may carry values of the register
//	's' table 0 key                            → order(8), of a value that was carried in this generation
//	'g'                                        → generation(8), of what days carry
//
// Numbers are big-endian; time is milliseconds since 1970.

func rowPrefix(dst []byte, f visit.Facility) []byte {
	return append(append(append(dst, 'v'), f...), 0)
}

func rowKey(dst []byte, f visit.Facility, at uint64, b store.Blind) []byte {
	return append(binary.BigEndian.AppendUint64(rowPrefix(dst, f), at), b[:]...)
}

func indexKey(dst []byte, b store.Blind, f visit.Facility) []byte {
	return append(append(append(dst, 'x'), b[:]...), f...)
}

func countPrefix(dst []byte, f visit.Facility) []byte { return append(append(dst, f...), 0) }

func countKey(dst []byte, f visit.Facility, g visit.Gate, hour int) []byte {
	return append(append(append(countPrefix(dst, f), g...), 0), byte(hour))
}

func dayKey(table byte, d day.Day) []byte {
	return binary.BigEndian.AppendUint32([]byte{table}, uint32(d))
}

func registerKey(table, key string) []byte {
	k := make([]byte, 0, 2+len(table)+len(key))
	return append(append(append(append(k, 'r'), table...), 0), key...)
}

var generationKey = []byte{'g'}

// orderKey is the key of the order of a value whose key in the register is given.
func orderKey(registerKey []byte) []byte { return append([]byte{'s'}, registerKey[1:]...) }

func rowValue(dst []byte, r store.Row) []byte {
	return append(append(append(dst, byte(len(r.Gate))), r.Gate...), r.Sealed...)
}

func readRow(key, value []byte) (store.Row, error) {
	if len(key) < 24 || len(value) < 1 || len(value) < 1+int(value[0]) {
		return store.Row{}, fmt.Errorf("stored visit has a damaged key or value")
	}
	tail := key[len(key)-24:]
	n := 1 + int(value[0])
	return store.Row{
		At:     time.UnixMilli(int64(binary.BigEndian.Uint64(tail))).UTC(),
		Blind:  store.Blind(tail[8:]),
		Gate:   visit.Gate(value[1:n]),
		Sealed: bytes.Clone(value[n:]),
	}, nil
}

// readCount reads a count whose key, after what stands before the facility, is facility 0 gate 0 hour.
func readCount(key, value []byte) (visit.Facility, store.Count, error) {
	parts := bytes.SplitN(key, []byte{0}, 3)
	if len(parts) != 3 || len(parts[2]) != 1 || len(value) != 8 {
		return "", store.Count{}, fmt.Errorf("stored count has a damaged key or value")
	}
	return visit.Facility(parts[0]), store.Count{
		Gate: visit.Gate(parts[1]), Hour: int(parts[2][0]), N: binary.BigEndian.Uint64(value),
	}, nil
}

// after returns the first key that does not begin with prefix.
func after(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
