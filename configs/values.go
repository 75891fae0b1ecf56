package configs

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/kipass/kipass/protocol/publickey"
)

// The value types below never fail to decode: they keep what was wrong with their text, so that all mistakes of a file
// can be told at once. A configuration that Load or Parse returned holds none that is wrong.

// judged is implemented by values that remember what was wrong with their text.
type judged interface{ flaw() string }

// Duration is a length of time, written as in Go: "500ms", "2s", "1m30s".
type Duration struct {
	time.Duration
	wrong string
}

func durationOf(d time.Duration) Duration { return Duration{Duration: d} }

func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration{Duration: v}
	if err != nil {
		d.wrong = fmt.Sprintf(`%q is no length of time; write for example "500ms" or "2s"`, text)
	}
	return nil
}

func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
func (d Duration) flaw() string                 { return d.wrong }

// Size is a number of bytes, written with a unit: "64MiB", "1GiB", "500MB".
type Size struct {
	Bytes int64
	wrong string
}

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
}

func (s *Size) UnmarshalText(text []byte) error {
	*s = Size{wrong: fmt.Sprintf(`%q is no size; write for example "64MiB" or "1GiB"`, text)}
	for _, unit := range sizeUnits {
		number, found := strings.CutSuffix(string(text), unit.name)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err == nil && n >= 0 && n <= math.MaxInt64/unit.bytes {
			*s = Size{Bytes: n * unit.bytes}
		}
		break
	}
	return nil
}

// String writes the size in the largest binary unit that divides it.
func (s Size) String() string {
	for _, unit := range sizeUnits[:4] {
		if s.Bytes > 0 && s.Bytes%unit.bytes == 0 {
			return strconv.FormatInt(s.Bytes/unit.bytes, 10) + unit.name
		}
	}
	return strconv.FormatInt(s.Bytes, 10) + "B"
}

func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
func (s Size) flaw() string                 { return s.wrong }

// Secret is a text that prints, logs and encodes as a placeholder.
type Secret string

const redacted = "(redacted)"

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String returns a placeholder, or nothing where there is no secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

func (s Secret) GoString() string             { return strconv.Quote(s.String()) }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(s.String()) }
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// PublicKey is an Ed25519 public key (RFC 8032), written as 64 hex digits or in base64 (RFC 4648 section 4 or 5, with or without padding).
type PublicKey struct {
	key   ed25519.PublicKey
	wrong string
}

// Key returns the key's 32 bytes, or nil if none was given.
func (k PublicKey) Key() ed25519.PublicKey { return k.key }

func (k *PublicKey) UnmarshalText(text []byte) error {
	*k = PublicKey{}
	if len(text) == 0 {
		return nil
	}
	key, err := publickey.Parse(string(text))
	if err != nil {
		k.wrong = err.Error()
	}
	k.key = key
	return nil
}

func (k PublicKey) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(k.key)), nil }
func (k PublicKey) flaw() string                 { return k.wrong }

// TimeOfDay is a wall-clock time, "00:00" to "23:59", or unset.
type TimeOfDay struct {
	minutes int16 // since midnight, plus one; 0 is unset
	wrong   string
}

// Set reports whether a time was given.
func (t TimeOfDay) Set() bool { return t.minutes > 0 }

// Minutes returns the minutes since midnight; 0 if unset.
func (t TimeOfDay) Minutes() int { return max(0, int(t.minutes)-1) }

func (t *TimeOfDay) UnmarshalText(text []byte) error {
	*t = TimeOfDay{}
	if len(text) == 0 {
		return nil
	}
	v, err := time.Parse("15:04", string(text))
	if err != nil || len(text) != len("15:04") {
		t.wrong = fmt.Sprintf(`%q is no time of day; write for example "07:00"`, text)
		return nil
	}
	t.minutes = int16(v.Hour()*60+v.Minute()) + 1
	return nil
}

func (t TimeOfDay) MarshalText() ([]byte, error) {
	if !t.Set() {
		return nil, nil
	}
	return fmt.Appendf(nil, "%02d:%02d", t.Minutes()/60, t.Minutes()%60), nil
}

func (t TimeOfDay) flaw() string { return t.wrong }

// Bytes are raw bytes, written in hex with or without spaces: "16 54 0D".
type Bytes struct {
	Raw   []byte
	wrong string
}

const maxBytes = 64

func (b *Bytes) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	*b = Bytes{Raw: raw}
	if err != nil || len(raw) > maxBytes {
		*b = Bytes{wrong: fmt.Sprintf(`must be up to %d bytes in hex, for example "16 54 0D"`, maxBytes)}
	}
	return nil
}

func (b Bytes) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "% X", b.Raw), nil }
func (b Bytes) flaw() string                 { return b.wrong }
