package drivertest

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/internal/device"
)

// Decoration is what a reader may send beside, around or in place of a code. A table over all of them is run for every
// family, and seeds the fuzz tests.
type Decoration struct {
	Rule string
	Wire func(code string) string // what is sent, without the end
	Want Want
}

// Want is what becomes of something that was sent.
type Want uint8

const (
	Nothing Want = iota // nobody presented anything
	OneCode             // the code, as it is
	Foreign             // one frame that is no code
)

// Decorations lists what readers send. Where one is sent alone, the end follows it all the same.
var Decorations = []Decoration{
	alone("NUL", "\x00"), alone("many NUL", strings.Repeat("\x00", 3000)),
	alone("XON", "\x11"), alone("XOFF", "\x13"), alone("XON and XOFF", "\x11\x13\x11"),
	alone("form feed", "\f"), alone("byte order mark", "\xef\xbb\xbf"), alone("UTF-16 byte order mark", "\xff\xfe"),
	alone("a disturbance", "\xff"), alone("one more", "\xb5"), alone("DEL", "\x7f"), alone("spaces", "   "),
	alone("STX and EOT", "\x02\x04"), alone("an AIM identifier alone", "]Q1"), alone("a character set alone", `\000026`),

	before("NUL", "\x00"), before("XON", "\x11"), before("form feed", "\f"), before("byte order mark", "\xef\xbb\xbf"),
	before("idle line", "\xff\xff"), before("spaces", "  "), before("GS for FNC1", "\x1d"), before("STX", "\x02"),
	before("AIM identifier", "]Q1"), before("AIM identifier for FNC1", "]Q3"), before("AIM identifier and GS", "]Q3\x1d"),
	before("character set", `\000026`), before("AIM identifier and character set", `]Q2\000026`),
	before("byte order mark and AIM identifier", "\xef\xbb\xbf]Q1"), before("AIM identifier and byte order mark", "]Q1\xef\xbb\xbf"),
	before("space and AIM identifier", " ]Q1 "),
	behind("NUL", "\x00"), behind("XOFF", "\x13"), behind("form feed", "\f"), behind("byte order mark", "\xef\xbb\xbf"),
	behind("idle line", "\xff"), behind("spaces", "   "), behind("GS", "\x1d"), behind("EOT", "\x04"), behind("DEL", "\x7f"),

	{"XON and XOFF within", func(c string) string { return c[:9] + "\x13\x11" + c[9:] }, OneCode},
	{"NUL between all characters", func(c string) string { return strings.Join(strings.Split(c, ""), "\x00") }, OneCode},
	{"twice in one go", func(c string) string { return c + c }, OneCode},
	{"three times, with spaces between", func(c string) string { return c + " " + c + " " + c }, OneCode},
	{"behind one that was torn", func(c string) string { return c[:100] + c }, OneCode},
	{"before one that was torn", func(c string) string { return c + c[:100] }, OneCode},

	foreign("a bar code", "8801062518210"), foreign("a link", "https://example.kr/?q=1"), foreign("one character", "7"),
	foreign("Hangul", "출입명부"), foreign("Hangul in EUC-KR", "\xc3\xe2\xc0\xd4\xb8\xed\xba\xce"),
	foreign("2,953 bytes", strings.Repeat("0123456789abcdefg", 174)[:2953]),
	foreign("2,953 bytes of Hangul in EUC-KR", strings.Repeat("\xc3\xe2", 1476)+"1"),
	foreign("7,089 digits", strings.Repeat("0123456789", 709)[:7089]),
	foreign("binary, with something to read", "PK\x07\x08\x05data\xc3\x28\x0e"),
	foreign("a business card", "BEGIN:VCARD\r\nVERSION:3.0\r\nN:Hong;Gildong\r\n\r\nTEL:1\r\nEND:VCARD"),
	foreign("a table", "a\tb\tc\nd\te\tf"),
	{"torn off", func(c string) string { return c[:len(c)-1] }, Foreign},
	{"without its beginning", func(c string) string { return c[3:] }, Foreign},
}

func alone(what, text string) Decoration {
	return Decoration{what + " alone", func(string) string { return text }, Nothing}
}

func before(what, text string) Decoration {
	return Decoration{what + " before it", func(c string) string { return text + c }, OneCode}
}

func behind(what, text string) Decoration {
	return Decoration{what + " behind it", func(c string) string { return c + text }, OneCode}
}

func foreign(what, text string) Decoration {
	return Decoration{what, func(string) string { return text }, Foreign}
}

// DecorationSuite sends each decoration to a reader, and after each a code that must come through.
func DecorationSuite(t *testing.T, newFixture func(*testing.T) Fixture) {
	f := newFixture(t)
	s := supervise(t, f)
	s.ready()
	for i, d := range Decorations {
		shown, next := Code(2*i, 230), Code(2*i+1, 230)
		wire := d.Wire(shown)
		if !f.Bytes && strings.ContainsFunc(wire, func(r rune) bool { return r > '~' }) {
			continue // the device cannot send this
		}
		s.send(wire)
		got := ""
		if d.Want != Nothing {
			got = string(s.next().Data)
		}
		if d.Want == OneCode && got != shown || d.Want == Foreign && isCode([]byte(got)) {
			t.Errorf("%s: %.60q came of it", d.Rule, got)
		}
		s.send(next)
		for got = string(s.next().Data); got != next; got = string(s.next().Data) {
			t.Errorf("%s: %.60q came too, of %d bytes", d.Rule, got, len(got))
		}
	}
	if err := f.Reader.Check(); err != nil {
		t.Errorf("Check says %v", err)
	}
}

// Flaws lists what readers that are set up wrongly make of codes, and the words by which the technician is told.
var Flaws = []struct {
	Rule  string
	Spoil func(code string) string
	Words []string
}{
	{"small letters", strings.ToLower, []string{"소문자", "small", "letters"}},
	{"a code id before it", func(c string) string { return "s" + c }, []string{`prefix = "s"`, "before each code", "앞에"}},
	{"two letters before it", func(c string) string { return "QR" + c }, []string{`prefix = "QR"`}},
	{"a longer text before it", func(c string) string { return "010-1234567 " + c }, []string{"12 characters before", "prefix"}},
	{"a sign behind it", func(c string) string { return c + "#" }, []string{`suffix = "#"`, "behind each code", "뒤에"}},
	{"even parity", func(c string) string { return parity(c, 0) }, []string{"패리티", "parity"}},
	{"odd parity", func(c string) string { return parity(c, 1) }, []string{"패리티", "parity"}},
	{"mark parity", func(c string) string { return mark(c) }, []string{"패리티", "parity"}},
	{"spaces left out", func(c string) string { return strings.ReplaceAll(c, " ", "") }, []string{"빠지거나", "missing or changed"}},
	{"spaces as plus signs", func(c string) string { return strings.ReplaceAll(c, " ", "+") }, []string{"missing or changed"}},
}

// parity returns text as a line of 8 bits without parity receives it from one of 7 bits with it.
func parity(text string, odd int) string {
	b := []byte(text)
	for i, c := range b {
		ones := odd
		for bit := range 7 {
			ones += int(c >> bit & 1)
		}
		b[i] |= byte(ones&1) << 7
	}
	return string(b)
}

func mark(text string) string {
	b := []byte(text)
	for i := range b {
		b[i] |= 0x80
	}
	return string(b)
}

// FlawSuite shows codes that a reader's settings have spoilt, each another, until it tells the technician what is wrong. The
// fixture's frames end by silence or are presentations of their own, as datagrams are.
func FlawSuite(t *testing.T, newFixture func(*testing.T) Fixture) {
	f := newFixture(t)
	s := supervise(t, f)
	s.ready()
	end := f.Ends[0]
	if slices.Contains(f.Ends, "") {
		end = "" // each is a presentation of its own, since it ends by silence
	}
	for i, flaw := range Flaws {
		var shown []string
		for n := range device.MaxFlawed {
			if err := f.Reader.Check(); err != nil {
				t.Fatalf("%s: Check says %v after %d", flaw.Rule, err, n)
			}
			shown = append(shown, Code(10*i+n, 230))
			spoilt := flaw.Spoil(shown[n])
			s.sendWith(spoilt, end)
			if got := string(s.next().Data); isCode([]byte(got)) {
				t.Fatalf("%s: a spoilt code came whole", flaw.Rule)
			}
		}
		told := f.Reader.Check()
		if !errors.Is(told, drivers.ErrGarbled) {
			t.Fatalf("%s: Check says %v", flaw.Rule, told)
		}
		tells(t, told.Error(), flaw.Words, shown)
		s.send(Code(10*i+9, 230))
		s.want(Code(10*i+9, 230))
	}
}

// tells holds that words for the technician say what is to be said, Korean first, and nothing of what was read.
func tells(t *testing.T, said string, words, codes []string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.Errorf("Check says %q, want it to say %q", said, w)
		}
	}
	if korean, english, found := strings.Cut(said, " / "); !found || !strings.ContainsFunc(korean, isHangul) || strings.ContainsFunc(english, isHangul) {
		t.Errorf("Check says %q, want Korean before English", said)
	}
	for _, code := range codes {
		for i := len(Codes.Begins); i+6 <= len(code); i++ {
			if part := code[i : i+6]; strings.Contains(strings.ToUpper(said), part) {
				t.Fatalf("Check says %q, which holds %q of a code", said, part)
			}
		}
	}
	if strings.Contains(said, "1234567") {
		t.Errorf("Check says %q, which may be somebody's telephone number", said)
	}
}

func isHangul(r rune) bool { return r >= '가' && r <= '힣' }
