package visit

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/kipass/kipass/protocol/day"
)

// CTISize is the length in bytes of a code's cti claim: a 12-byte nonce and a sealed 16-byte holder reference.
const CTISize = 44

// CTI is the encrypted code of a visitor (the cti claim of an entry code, RFC 8392 section 3.1.7). Only its issuer can
// open it, yet it is a visitor's secret: it prints and logs as a placeholder, whatever the verb, and refuses to become
// JSON or other text. (Package fmt calls no methods on unexported fields: do not print a struct that holds one there.)
type CTI [CTISize]byte

const redacted = "cti(redacted)"

// String returns the placeholder.
func (CTI) String() string { return redacted }

// Format writes the placeholder for every verb.
func (CTI) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// LogValue is the placeholder.
func (CTI) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText always fails, so that JSON neither shows a cti nor stores a placeholder in its place.
func (CTI) MarshalText() ([]byte, error) {
	return nil, errors.New("a cti is a visitor's secret and has no text form: store its bytes")
}

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
	At         time.Time     // when the code was read, by the gate's clock, in whole milliseconds; when it was issued, if Clock is ClockUntrusted
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

const (
	maxIssuer = 16
	maxSkew   = day.MaxSkew
	// minAt and maxAt bound At to the years 1 to 9999, in milliseconds since 1970.
	minAt = -62135596800000
	maxAt = 253402300799999
)

func (v Visit) check() error {
	if at := v.At.UnixMilli(); at <= minAt || at > maxAt {
		return errors.New("time of reading is missing or not within the years 1 to 9999")
	}
	if len(v.Issuer) > maxIssuer {
		return fmt.Errorf("issuer name of %d characters, at most %d", len(v.Issuer), maxIssuer)
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

// String returns 32 hexadecimal digits.
func (id JournalID) String() string { return hex.EncodeToString(id[:]) }
