package evdevscan

import (
	"bytes"
	"slices"
	"strings"
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
	begins   []byte
	alphabet string
	signs    []sign
}

// sign is how codes begin that were damaged in one way.
type sign struct {
	begins []byte
	remedy string
}

// newDamage prepares for codes that begin as given and consist of the characters of alphabet, if it has any.
func newDamage(begins, alphabet string) damage {
	d := damage{begins: []byte(begins), alphabet: alphabet}
	if begins == "" {
		return d
	}
	names := map[string][]string{}
	var order []string
	for _, c := range countries {
		seen := typedAs(begins, c.pairs)
		if seen == begins {
			continue
		}
		if names[seen] == nil {
			order = append(order, seen)
		}
		names[seen] = append(names[seen], c.name)
	}
	for _, seen := range order {
		d.signs = append(d.signs, sign{[]byte(seen), "as from a keyboard that is " + strings.Join(names[seen], ", ") + ": set the reader's keyboard country to US"})
	}
	const letters = "with small and capital letters exchanged: switch the reader's Caps Lock and case conversion off"
	for _, seen := range []string{swapCase(begins), withoutShift(begins)} {
		if seen != begins {
			d.signs = append(d.signs, sign{[]byte(seen), letters})
		}
	}
	return d
}

// remedy says what is wrong with a code and what to do about it; "" if that is not known.
func (d damage) remedy(code []byte) string {
	if len(d.begins) == 0 {
		return ""
	}
	if rest, ok := bytes.CutPrefix(code, d.begins); ok {
		foreign := func(c byte) bool { return strings.IndexByte(d.alphabet, c) < 0 }
		if d.alphabet != "" && slices.ContainsFunc(rest, foreign) {
			return "with characters they cannot have: set the reader's keyboard country to US"
		}
		return ""
	}
	for _, s := range d.signs {
		if bytes.HasPrefix(code, s.begins) {
			return s.remedy
		}
	}
	return ""
}

// whole tells whether a code begins as it should.
func (d damage) whole(code []byte) bool { return bytes.HasPrefix(code, d.begins) }

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
