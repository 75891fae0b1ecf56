package visit

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// Marshal returns the canonical encoding of v, 54 to 81 bytes. Times are cut to whole milliseconds.
// The error says which field is out of its bounds.
func (v Visit) Marshal() ([]byte, error) { return v.AppendBinary(make([]byte, 0, maxRecord)) }

// AppendBinary appends what Marshal returns to b.
func (v Visit) AppendBinary(b []byte) ([]byte, error) {
	if err := v.check(); err != nil {
		return nil, err
	}
	return v.append(b), nil
}

// Unmarshal reads the canonical encoding; any other bytes, even equivalent CBOR, give an error wrapping [ErrRecord].
func Unmarshal(b []byte) (Visit, error) {
	// A server reads every record and a gate writes it: what a general decoder and encoder would take for that is most of
	// the work beside the ciphers. Bytes are canonical if they are what would be written, whatever was read of them.
	if v, ok := read(b); ok && v.check() == nil {
		if again := v.append(make([]byte, 0, maxRecord)); string(again) == string(b) {
			return v, nil
		}
	}
	return Visit{}, fmt.Errorf("%w: %w", ErrRecord, fault(b))
}

// The canonical encoding is a CBOR array (RFC 8949, core deterministic encoding) of seven elements: version, time in
// milliseconds since 1970, issuer, cti, clock, skew in milliseconds, and whether the trust list was stale.
const (
	recordVersion = 1
	recordItems   = 7
	maxRecord     = 81
)

// Major types of CBOR (RFC 8949, section 3.1) and its two truth values.
const (
	cborUint  = 0 << 5
	cborNint  = 1 << 5
	cborBytes = 2 << 5
	cborText  = 3 << 5
	cborArray = 4 << 5
	cborFalse = 0xf4
	cborTrue  = 0xf5
)

// append adds the canonical encoding of a visit within its bounds.
func (v Visit) append(b []byte) []byte {
	b = append(b, cborArray|recordItems, cborUint|recordVersion)
	if at := v.At.UnixMilli(); at >= 0 {
		b = appendHead(b, cborUint, uint64(at))
	} else {
		b = appendHead(b, cborNint, uint64(-1-at))
	}
	b = append(appendHead(b, cborText, uint64(len(v.Issuer))), v.Issuer...)
	b = append(appendHead(b, cborBytes, CTISize), v.CTI[:]...)
	b = appendHead(b, cborUint, uint64(v.Clock))
	b = appendHead(b, cborUint, uint64(v.Skew.Milliseconds()))
	if v.StaleTrust {
		return append(b, cborTrue)
	}
	return append(b, cborFalse)
}

// appendHead adds an item's head in its shortest form (RFC 8949, section 4.2.1).
func appendHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n < 1<<8:
		return append(b, major|24, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

// read reads a visit from what may be its canonical encoding; if it is, ok is true, and if ok is true, it need not be.
func read(b []byte) (v Visit, ok bool) {
	r := items{rest: b}
	array, n := r.head()
	if array != cborArray || n != recordItems {
		return Visit{}, false
	}
	version, one := r.head()
	sign, at := r.head()
	issuer := r.bytes(cborText)
	cti := r.bytes(cborBytes)
	_, clock := r.head()
	_, skew := r.head()
	_, stale := r.head()
	if r.short || version != cborUint || one != recordVersion || len(cti) != CTISize || clock > uint64(ClockSynced) {
		return Visit{}, false
	}
	ms := int64(at)
	if sign == cborNint {
		ms = -1 - ms
	}
	return Visit{
		At: time.UnixMilli(ms).UTC(), Issuer: string(issuer), CTI: CTI(cti),
		Clock: ClockState(clock), Skew: time.Duration(min(skew, uint64(2*maxSkew.Milliseconds()))) * time.Millisecond,
		StaleTrust: stale == cborTrue&0x1f,
	}, true
}

// items reads CBOR items one after the other.
type items struct {
	rest  []byte
	short bool // there was less than was asked for
}

// head reads an item's head: major type, and the number that goes with it.
func (r *items) head() (major byte, n uint64) {
	first := r.take(1)
	if r.short {
		return 0, 0
	}
	major, n = first[0]&0xe0, uint64(first[0]&0x1f)
	if n < 24 {
		return major, n
	}
	if n > 27 {
		r.short = true
		return 0, 0
	}
	var number [8]byte
	size := 1 << (n - 24)
	copy(number[8-size:], r.take(size))
	return major, binary.BigEndian.Uint64(number[:])
}

// bytes reads a byte or text string.
func (r *items) bytes(want byte) []byte {
	major, n := r.head()
	if major != want || n > uint64(len(r.rest)) {
		r.short = true
		return nil
	}
	return r.take(int(n))
}

func (r *items) take(n int) []byte {
	if n > len(r.rest) {
		r.short = true
		return nil
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

// record is the encoding as a general decoder reads it.
type record struct {
	_      struct{} `cbor:",toarray"`
	V      uint8
	At     int64
	Issuer string
	CTI    []byte
	Clock  uint8
	Skew   uint32
	Stale  bool
}

var decMode = must(cbor.DecOptions{
	DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
	MaxNestedLevels: 4, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
}.DecMode())

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// fault says why bytes are not the canonical encoding of a visit.
func fault(b []byte) error {
	var r record
	if err := decMode.Unmarshal(b, &r); err != nil {
		return errShape
	}
	if r.V != recordVersion {
		return fmt.Errorf("version %d, this program reads version %d", r.V, recordVersion)
	}
	if len(r.CTI) != CTISize {
		return fmt.Errorf("cti of %d bytes, must be %d", len(r.CTI), CTISize)
	}
	v := Visit{
		At: time.UnixMilli(r.At), Issuer: r.Issuer, CTI: CTI(r.CTI), Clock: ClockState(r.Clock), Skew: time.Duration(r.Skew) * time.Millisecond,
	}
	if err := v.check(); err != nil {
		return err
	}
	return errForm
}
