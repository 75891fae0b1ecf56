package framing

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/kipass/kipass/drivers"
)

// Code describes the texts for which the gate is there, to tell them from everything else that a reader may deliver.
// Drivers know no such format themselves: whoever makes a reader hands its description over.
type Code struct {
	Begins   string                 // how every one begins; empty if nothing is known of them
	Alphabet string                 // the characters of which they consist
	Is       func(text []byte) bool // whether text is one, with nothing before or behind it; its signature does not matter
}

func (c Code) known() bool { return c.Begins != "" }

// in returns the codes of which a frame consists: itself, or those that a reader without terminator sent in one go, each
// once. What is torn between them is left out; what does not begin as a code holds none.
func (c Code) in(data []byte) (codes [][]byte) {
	if !c.known() || !bytes.HasPrefix(data, []byte(c.Begins)) {
		return nil
	}
	if len(data) <= drivers.MaxFrame && c.Is(data) {
		return [][]byte{data}
	}
	starts := c.starts(data)
	for i := 0; i < len(starts)-1; i++ {
		// The beginning of a code can stand in the middle of one by chance, so the shortest piece is only the first tried.
		for j := i + 1; j < len(starts); j++ {
			if piece := trim(data[starts[i]:starts[j]]); len(piece) <= drivers.MaxFrame && c.Is(piece) {
				if len(codes) == 0 || !bytes.Equal(codes[len(codes)-1], piece) {
					codes = append(codes, piece)
				}
				i = j - 1
				break
			}
		}
	}
	return codes
}

// starts returns where in a frame codes may begin, and its end.
func (c Code) starts(data []byte) (at []int) {
	const most = 16
	for from := 0; len(at) < most; {
		i := bytes.Index(data[from:], []byte(c.Begins))
		if i < 0 {
			break
		}
		at = append(at, from+i)
		from += i + len(c.Begins)
	}
	return append(at, len(data))
}

// setting is a way in which a reader's settings change each character of a code, and how it is undone.
type setting struct {
	undo func([]byte) []byte
	flaw string
}

var settings = []setting{
	{func(b []byte) []byte { return b }, ""},
	{bytes.ToUpper, "스캐너가 소문자로 보냅니다: 스캐너의 대소문자 변환과 Caps Lock을 끄세요" +
		" / the reader sends small letters: switch its case conversion and Caps Lock off"},
	{withoutParity, "스캐너가 패리티 비트를 보냅니다: 스캐너를 8비트, 패리티 없음으로 설정하세요" +
		" / the reader sends a parity bit: set it to 8 data bits, no parity"},
}

// FlawDamaged is the flaw of texts that begin as codes, where nothing better is known.
const FlawDamaged = "입장 코드의 글자가 빠지거나 바뀌어 들어옵니다: 스캐너의 국가(US)와 데이터 편집 설정을 확인하세요" +
	" / entry codes arrive with characters missing or changed: check the reader's country (US) and its data formatting"

// maxAround is the longest prefix or suffix that is looked for; a config may have as much.
const maxAround = 16

// flaw says which setting of the reader spoils a text that is no code, in words for the technician; "" if it does not look
// like a spoilt code. The words hold nothing of the code, which is a visitor's.
func (c Code) flaw(data []byte) string {
	if !c.known() {
		return ""
	}
	for _, s := range settings {
		text := trim(s.undo(data))
		i := bytes.Index(text[:min(len(text), maxAround+len(c.Begins))], []byte(c.Begins))
		if i < 0 {
			continue
		}
		behind, whole := c.behind(text[i:])
		switch {
		case whole && s.flaw != "":
			return s.flaw
		case whole && i > 0:
			return flawAround("앞", "before", "prefix", text[:i])
		case whole:
			return flawAround("뒤", "behind", "suffix", behind)
		}
	}
	if bytes.HasPrefix(data, []byte(c.Begins)) {
		return FlawDamaged
	}
	return ""
}

// behind returns what stands behind the code with which text begins, and whether there is such a code.
func (c Code) behind(text []byte) (rest []byte, whole bool) {
	for n := len(text); n > 0 && len(text)-n <= maxAround; n-- {
		if c.Is(text[:n]) {
			return text[n:], true
		}
	}
	return nil, false
}

// flawAround tells what a reader puts before or behind each code. Longer texts are not repeated: they may be somebody's.
func flawAround(korean, english, key string, text []byte) string {
	const shown = 4
	if n := utf8.RuneCount(text); n > shown {
		return fmt.Sprintf("스캐너가 코드 %s에 %d글자를 붙입니다: 스캐너에서 끄거나 %s에 적으세요"+
			" / the reader puts %d characters %s each code: switch that off, or set %s", korean, n, key, n, english, key)
	}
	quoted := strconv.QuoteToASCII(strings.ToValidUTF8(string(text), "?"))
	return fmt.Sprintf("스캐너가 코드 %s에 %s를 붙입니다: %s = %s로 설정하세요"+
		" / the reader puts %s %s each code: set %s = %s", korean, quoted, key, quoted, quoted, english, key, quoted)
}

func flawNoEnd(t Terminator) string {
	return fmt.Sprintf("코드 끝에 terminator = %q가 오지 않습니다: 스캐너에서 켜거나 \"auto\"로 설정하세요"+
		" / no terminator = %q comes after a code: switch it on in the reader, or set \"auto\"", t, t)
}

// withoutParity returns text without the eighth bit of each byte.
func withoutParity(text []byte) []byte {
	seen := bytes.Clone(text)
	for i := range seen {
		seen[i] &= 0x7f
	}
	return seen
}
