package visit

import (
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
)

const recordVersion = 1

// record is the canonical encoding of a visit: a CBOR array (RFC 8949, core deterministic encoding) of seven elements.
type record struct {
	_      struct{} `cbor:",toarray"`
	V      uint8
	At     int64 // milliseconds since 1970
	Issuer string
	CTI    []byte
	Clock  uint8
	Skew   uint32 // milliseconds
	Stale  bool
}

var (
	encMode = must(cbor.CoreDetEncOptions().EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		MaxNestedLevels: 4, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Marshal returns the canonical encoding of v, 54 to 79 bytes. Times are cut to whole milliseconds.
// The error says which field is out of its bounds.
func (v Visit) Marshal() ([]byte, error) {
	if err := v.check(); err != nil {
		return nil, err
	}
	return encMode.Marshal(record{
		V: recordVersion, At: v.At.UnixMilli(), Issuer: v.Issuer, CTI: v.CTI[:],
		Clock: uint8(v.Clock), Skew: uint32(v.Skew.Milliseconds()), Stale: v.StaleTrust,
	})
}

// Unmarshal reads the canonical encoding; any other bytes, even equivalent CBOR, give an error wrapping [ErrRecord].
func Unmarshal(b []byte) (Visit, error) {
	var r record
	if err := decMode.Unmarshal(b, &r); err != nil {
		return Visit{}, fmt.Errorf("%w: not a CBOR array of seven elements of the right types", ErrRecord)
	}
	if r.V != recordVersion {
		return Visit{}, fmt.Errorf("%w: version %d, this program reads version %d", ErrRecord, r.V, recordVersion)
	}
	if len(r.CTI) != CTISize {
		return Visit{}, fmt.Errorf("%w: cti of %d bytes, must be %d", ErrRecord, len(r.CTI), CTISize)
	}
	v := Visit{
		At: time.UnixMilli(r.At).UTC(), Issuer: r.Issuer, CTI: CTI(r.CTI),
		Clock: ClockState(r.Clock), Skew: time.Duration(r.Skew) * time.Millisecond, StaleTrust: r.Stale,
	}
	again, err := v.Marshal()
	if err != nil {
		return Visit{}, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if string(again) != string(b) {
		return Visit{}, fmt.Errorf("%w: not canonically encoded", ErrRecord)
	}
	return v, nil
}
