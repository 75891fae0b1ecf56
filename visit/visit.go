package visit

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// CTISize is the length in bytes of a code's cti claim: a 12-byte nonce and a sealed 16-byte holder reference.
const CTISize = 44

// CTI is the encrypted code of a visitor (the cti claim of an entry code, RFC 8392 section 3.1.7). Only its issuer can open it, yet it is a secret of the
// visitor's: it prints and logs as a placeholder.
type CTI [CTISize]byte

const redacted = "cti(redacted)"

func (CTI) String() string       { return redacted }
func (CTI) GoString() string     { return redacted }
func (CTI) LogValue() slog.Value { return slog.StringValue(redacted) }

// ClockState is how well the gate knew the time of a visit.
type ClockState uint8

const (
	ClockUntrusted ClockState = iota // booted without a clock, or stepped: the time is unproven
	ClockHoldover                    // was synced; uncertainty has grown since
	ClockSynced                      // kernel or server confirms the time
)

var clockStates = [...]string{ClockUntrusted: "untrusted", ClockHoldover: "holdover", ClockSynced: "synced"}

// String returns "untrusted", "holdover" or "synced".
func (s ClockState) String() string {
	if int(s) < len(clockStates) {
		return clockStates[s]
	}
	return fmt.Sprintf("clock-state(%d)", uint8(s))
}

// Visit is one admitted scan. Facility and gate are not part of it: they are bound to it by the sealing.
type Visit struct {
	At         time.Time     // when the code was read, by the gate's clock, in whole milliseconds
	Issuer     string        // short name of the issuer, 1 to 16 of a–z, 0–9 and '-'
	CTI        CTI           // the encrypted code
	Clock      ClockState    // how well the gate knew At
	Skew       time.Duration // the skew allowance the code was judged with, in whole milliseconds
	StaleTrust bool          // read under a trust list past its expiry
}

// LogValue leaves the code out.
func (v Visit) LogValue() slog.Value {
	return slog.GroupValue(slog.Time("at", v.At), slog.String("issuer", v.Issuer), slog.String("clock", v.Clock.String()))
}

// ErrRecord is wrapped by every error about bytes that are not the canonical encoding of a visit.
var ErrRecord = errors.New("not a visit record")

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

// Marshal returns the canonical encoding of v, 60 to 90 bytes.
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
		return Visit{}, fmt.Errorf("%w: %v", ErrRecord, err)
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
		return Visit{}, fmt.Errorf("%w: %v", ErrRecord, err)
	}
	if string(again) != string(b) {
		return Visit{}, fmt.Errorf("%w: not canonically encoded", ErrRecord)
	}
	return v, nil
}

const maxSkew = time.Hour

func (v Visit) check() error {
	if len(v.Issuer) > 16 {
		return fmt.Errorf("issuer name of %d characters, at most 16", len(v.Issuer))
	}
	if err := checkName(v.Issuer); err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	if v.Clock > ClockSynced {
		return fmt.Errorf("clock state %d is unknown", v.Clock)
	}
	if v.Skew < 0 || v.Skew > maxSkew {
		return fmt.Errorf("skew %v is outside 0 to %v", v.Skew, maxSkew)
	}
	return nil
}

// JournalID tells one journal file from another: 16 random bytes made when the file is. Sequence and chain restart
// with a new journal.
type JournalID [16]byte

func (id JournalID) String() string { return hex.EncodeToString(id[:]) }
