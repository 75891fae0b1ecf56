package framing

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// Filler tells whether c is sent beside the text and never in it, wherever it stands: NUL, which pads a slow line and keeps
// one alive, and XON and XOFF, with which a reader set to software flow control tells its state.
func Filler(c byte) bool { return c == 0x00 || c == 0x11 || c == 0x13 }

// edge tells whether c is no part of a text at its beginning or end: a space, a control character but substitute – STX, ETX,
// EOT, line ends, a form feed, the GS for FNC1 – and the bytes that a disturbed or idle line makes, which are no UTF-8.
//
// That is safe for what base45 (RFC 9285) carries, though a space is in its alphabet: the last character of a group of
// three is at most 32 (65535 / 45²) and that of a group of two at most 5 (255 / 45), a space is 36. So no such text
// ends with one, and entry codes begin otherwise.
func edge(c byte) bool { return c <= ' ' && c != substitute || c == 0x7f || c >= 0xfe }

var bom = []byte("\xef\xbb\xbf") // U+FEFF in UTF-8

// trim strips edges and byte order marks from both ends.
func trim(b []byte) []byte {
	for {
		switch {
		case len(b) == 0:
			return b
		case edge(b[0]):
			b = b[1:]
		case edge(b[len(b)-1]):
			b = b[:len(b)-1]
		case bytes.HasPrefix(b, bom):
			b = b[len(bom):]
		case bytes.HasSuffix(b, bom):
			b = b[:len(b)-len(bom)]
		default:
			return b
		}
	}
}

// Tidy strips from the bytes between two ends what is not the text: edges, the rule's prefix and suffix, an AIM symbology
// identifier (ISO/IEC 15424: a bracket, a letter, a digit), and the character set (ISO/IEC 18004, ECI: a backslash and six
// digits) that a reader announces by ]Q2. Each of them counts once, in any order. The result shares raw's memory and may
// be empty.
func (r Rule) Tidy(raw []byte) []byte {
	b := trim(raw)
	cuts := []func([]byte) []byte{
		cutText(trim([]byte(r.Prefix))), cutAIM, cutCharacterSet,
	}
	for again := true; again; {
		again = false
		for i, cut := range cuts {
			if cut == nil {
				continue
			}
			if rest := cut(b); len(rest) < len(b) {
				b, cuts[i], again = trim(rest), nil, true
			}
		}
	}
	return trim(bytes.TrimSuffix(b, trim([]byte(r.Suffix))))
}

func cutText(text []byte) func([]byte) []byte {
	return func(b []byte) []byte { return bytes.TrimPrefix(b, text) }
}

func cutAIM(b []byte) []byte {
	if len(b) < 3 || b[0] != ']' || !digit(b[2]) {
		return b
	}
	if c := b[1] | 0x20; c < 'a' || c > 'z' {
		return b
	}
	return b[3:]
}

func cutCharacterSet(b []byte) []byte {
	const length = len(`\000026`)
	if len(b) < length || b[0] != '\\' {
		return b
	}
	for _, c := range b[1:length] {
		if !digit(c) {
			return b
		}
	}
	return b[length:]
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// printable tells whether data has anything that a person could have meant to show: a character that can be seen, in ASCII
// or UTF-8, or two bytes as double-byte character sets such as EUC-KR have them. One such byte alone is a disturbance.
func printable(data []byte) bool {
	for stray := 0; len(data) > 0; {
		c, size := utf8.DecodeRune(data)
		switch {
		case c != utf8.RuneError || size > 1:
			if unicode.IsGraphic(c) && !unicode.IsSpace(c) {
				return true
			}
		case data[0] >= doubleByte:
			if stray++; stray == 2 {
				return true
			}
		}
		data = data[size:]
	}
	return false
}

const (
	doubleByte = 0xa1 // the lowest byte of a character in EUC-KR (KS X 1001)
	lastHangul = 0xc8 // the highest first byte of signs and Hangul; beyond it are Hanja, which look like noise
)

// Garbled tells whether data looks like noise, as a wrong baud rate makes it: bytes that are neither UTF-8 nor Hangul
// in EUC-KR, or control characters other than white space and the separators FS, GS, RS and US that GS1
// codes hold.
func Garbled(data []byte) bool {
	for len(data) > 0 {
		c, size := utf8.DecodeRune(data)
		switch {
		case c == utf8.RuneError && size == 1:
			if len(data) < 2 || data[0] < doubleByte || data[0] > lastHangul || data[1] < doubleByte || data[1] == 0xff {
				return true
			}
			size = 2
		case c == 0x7f || c < '\t' || c > '\r' && c < 0x1c:
			return true
		}
		data = data[size:]
	}
	return false
}
