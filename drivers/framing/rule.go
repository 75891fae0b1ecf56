package framing

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Terminator names what ends a frame.
type Terminator string

const (
	Auto Terminator = "auto" // CR, LF, CR LF, TAB, ETX, or silence
	CR   Terminator = "cr"
	LF   Terminator = "lf"
	CRLF Terminator = "crlf"
	Tab  Terminator = "tab"
	ETX  Terminator = "etx"
	None Terminator = "none" // silence alone
)

// Terminators lists every terminator.
var Terminators = []Terminator{Auto, CR, LF, CRLF, Tab, ETX, None}

// DefaultGap is the silence that ends a frame where no terminator came. Scanners that appear as a keyboard can be set to
// pause between two keys, and the gap must be longer than the pause or it cuts every code: Datalogic's Heron HD3100 guide
// (p. 227) gives 50 ms as its first example. On a serial line a shorter gap gains nothing, as none is noticed before 100 ms.
const DefaultGap = 80 * time.Millisecond

// MaxGap is the longest silence a rule may ask for: the visitor waits for it.
const MaxGap = 2 * time.Second

// stale is the silence after which the beginning of a frame is forgotten where only a named terminator ends a frame: its
// terminator was lost and it must not spoil the next frame.
const stale = 2 * time.Second

// ParseTerminator reads a terminator's name; the empty name is [Auto].
func ParseTerminator(name string) (Terminator, error) {
	if name == "" {
		return Auto, nil
	}
	names := make([]string, len(Terminators))
	for i, t := range Terminators {
		if names[i] = string(t); strings.EqualFold(name, names[i]) {
			return t, nil
		}
	}
	return "", fmt.Errorf("unknown terminator %q: use one of %s", name, strings.Join(names, ", "))
}

// Rule says how the frames of one reader look. The zero Rule suits most readers.
type Rule struct {
	Terminator Terminator    // empty is Auto
	Gap        time.Duration // silence that ends a frame for Auto and None, up to MaxGap; 0 is DefaultGap
	Prefix     string        // what the reader was set up to put before each code; stripped where it is there
	Suffix     string        // what it puts behind, other than the terminator; stripped where it is there
}

// WithDefaults returns the rule with everything named that it leaves out.
func (r Rule) WithDefaults() Rule {
	r.Terminator = cmp.Or(r.Terminator, Auto)
	r.Gap = cmp.Or(r.Gap, DefaultGap)
	return r
}

// Check tells what is wrong with a rule that someone wrote.
func (r Rule) Check() error {
	if _, err := ParseTerminator(string(r.Terminator)); err != nil {
		return err
	}
	if r.Gap < 0 || r.Gap > MaxGap {
		return fmt.Errorf("idle gap %s is out of range: use up to %s", r.Gap, MaxGap)
	}
	return nil
}

// Tidy strips from the bytes between two terminators what is not the code: STX, ETX, EOT and line ends around it, the
// rule's prefix and suffix, and an AIM symbology identifier (ISO/IEC 15424: a bracket, a letter, a digit). The result
// shares raw's memory and may be empty.
func (r Rule) Tidy(raw []byte) []byte {
	const edges = "\x02\x03\x04\r\n"
	b := bytes.Trim(raw, edges)
	b, prefixed := bytes.CutPrefix(b, []byte(r.Prefix))
	b = cutAIM(b)
	if !prefixed || len(r.Prefix) == 0 {
		b, _ = bytes.CutPrefix(b, []byte(r.Prefix))
	}
	return bytes.TrimSuffix(b, []byte(r.Suffix))
}

func cutAIM(b []byte) []byte {
	if len(b) < 3 || b[0] != ']' || b[2] < '0' || b[2] > '9' {
		return b
	}
	if c := b[1] | 0x20; c < 'a' || c > 'z' {
		return b
	}
	return b[3:]
}
