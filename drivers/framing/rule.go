package framing

import (
	"cmp"
	"errors"
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

// MaxGap is the longest silence a rule may ask for. The visitor waits for it, and has the answer within 2 s.
const MaxGap = time.Second

// parted is the silence after which what comes is another presentation. No reader reads two codes faster.
const parted = DefaultGap

// overdue is the silence that ends a frame where only a named terminator does and none came: the terminator was lost, or
// the reader sends another. It must not spoil the next frame, and the visitor waits for an answer to this one.
const overdue = time.Second

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
	Code       Code          // what is to be read; the zero Code is any text
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
	if r.Code.known() != (r.Code.Is != nil) {
		return errors.New("a code needs both its beginning and what tells whether a text is one")
	}
	return nil
}
