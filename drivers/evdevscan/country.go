package evdevscan

import (
	"bytes"
	"slices"
	"strings"

	"github.com/kipass/kipass/drivers/framing"
)

// countries has, for scanners set to another keyboard than the US one, what becomes of the characters of base45 (RFC 9285)
// when their keys are read by the US layout: pairs of the character meant and the one seen. What is not named stays.
// Checked against the layouts of xkeyboard-config 2.35.1, the Japanese one from JIS X 6002 by memory.
var countries = []struct{ name, pairs string }{
	{"German or Austrian", "YZ ZY *} +] -/ /& :>"},
	{"Swiss", `YZ ZY $\ *# +! -/ /& :>`},
	{"Spanish or Italian", "*} +] -/ /& :>"},
	{"Portuguese", "*{ +[ -/ /& :>"},
	{"Scandinavian", "*| +- -/ /& :>"},
	{"Dutch", "*] +; -/ /- :>"},
	{"French", `0) 1! 2@ 3# 4$ 5% 6^ 7& 8* 9( AQ M: QA WZ ZW $] %" *\ -6 .< /> :.`},
	{"Belgian", `0) 1! 2@ 3# 4$ 5% 6^ 7& 8* 9( AQ M: QA WZ ZW $] %" *} +? -= .< /> :.`},
	{"Czech or Slovak", "0) 1! 2@ 3# 4$ 5% 6^ 7& 8* 9( YZ ZY +1 -/ /{ :>"},
	{"Hungarian", "0` YZ ZY +# -/ /^ :>"},
	{"Turkish", "*- +$ -= ./ /& :?"},
	{"Brazilian", ":?"},
	{"Japanese", `*" +: :'`},
}

// damage knows codes that were typed by a scanner set up wrongly.
type damage struct {
	code  framing.Code
	signs []sign
}

// sign is how codes begin that were damaged in one way.
type sign struct {
	begins []byte
	flaw   string
}

const (
	koreanCountry = "코드가 깨져 들어옵니다: 스캐너의 키보드 국가를 US로 설정하세요"
	setCountry    = ": set the reader's keyboard country to US"
	foreignChars  = koreanCountry + " / codes arrive damaged, with characters they cannot have" + setCountry
	foreignKeys   = koreanCountry + " / codes arrive damaged, with keys that a US keyboard does not have" + setCountry
	exchanged     = "코드의 대문자와 소문자가 바뀌어 들어옵니다: 스캐너의 Caps Lock과 대소문자 변환을 끄세요" +
		" / codes arrive damaged, with small and capital letters exchanged: switch the reader's Caps Lock and case conversion off"
)

// newDamage prepares for the codes described, if any are.
func newDamage(code framing.Code) damage {
	d := damage{code: code}
	if code.Begins == "" {
		return d
	}
	names := map[string][]string{}
	var order []string
	for _, c := range countries {
		seen := typedAs(code.Begins, c.pairs)
		if seen == code.Begins {
			continue
		}
		if names[seen] == nil {
			order = append(order, seen)
		}
		names[seen] = append(names[seen], c.name)
	}
	for _, seen := range order {
		d.signs = append(d.signs, sign{[]byte(seen),
			koreanCountry + " / codes arrive damaged, as from a keyboard that is " + strings.Join(names[seen], ", ") + setCountry})
	}
	for _, seen := range []string{swapCase(code.Begins), withoutShift(code.Begins)} {
		if seen != code.Begins {
			d.signs = append(d.signs, sign{[]byte(seen), exchanged})
		}
	}
	return d
}

// flaw says what the scanner's settings made of a code, and what to do about it; "" if that is not known.
func (d damage) flaw(f framing.Frame) string {
	if f.Whole || f.Torn || f.Data == nil {
		return ""
	}
	if rest, ok := bytes.CutPrefix(f.Data, []byte(d.code.Begins)); ok && d.code.Begins != "" {
		if slices.ContainsFunc(rest, func(c byte) bool { return strings.IndexByte(d.code.Alphabet, c) < 0 }) {
			return foreignChars
		}
		return ""
	}
	for _, s := range d.signs {
		if bytes.HasPrefix(f.Data, s.begins) {
			return s.flaw
		}
	}
	if bytes.IndexByte(f.Data, alien) >= 0 {
		return foreignKeys
	}
	return ""
}

// typedAs returns text as it is seen from a scanner for which pairs of what is meant and what is seen hold.
func typedAs(text, pairs string) string {
	seen := []byte(text)
	for pair := range strings.FieldsSeq(pairs) {
		for i := range len(text) {
			if text[i] == pair[0] {
				seen[i] = pair[1]
			}
		}
	}
	return string(seen)
}

// swapCase returns text as Caps Lock makes it.
func swapCase(text string) string {
	seen := []byte(text)
	for i, c := range seen {
		if l := c | 0x20; l >= 'a' && l <= 'z' {
			seen[i] = c ^ 0x20
		}
	}
	return string(seen)
}

// withoutShift returns text as it is typed by a scanner that never presses shift.
func withoutShift(text string) string {
	seen := []byte(text)
	for i, c := range seen {
		for _, keys := range us {
			if keys[1] == c {
				seen[i] = keys[0]
			}
		}
	}
	return string(seen)
}
