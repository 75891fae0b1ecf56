package evdevscan

import (
	"strings"
	"testing"

	"github.com/kipass/kipass/drivers/framing"
)

const base45 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"

// anyCode describes codes of which only the beginning and the characters are known.
var anyCode = framing.Code{Begins: "KIP1:", Alphabet: base45, Is: func(text []byte) bool {
	rest, ok := strings.CutPrefix(string(text), "KIP1:")
	return ok && strings.Trim(rest, base45) == ""
}}

// seen returns the frame of what was typed.
func seen(text string) framing.Frame {
	return framing.Frame{Data: []byte(text), Whole: anyCode.Is([]byte(text))}
}

func TestDamageIsRecognised(t *testing.T) {
	d := newDamage(anyCode)
	for _, c := range []struct{ rule, code, remedy string }{
		{"a code is whole", "KIP1:" + base45, ""},
		{"a German scanner's is not", "KIP1>6BFZY", "German"},
		{"a Scandinavian scanner's looks the same", "KIP1>6BFZY", "Scandinavian"},
		{"a French scanner's", "KIP!.^BF", "French, Belgian"},
		{"a Czech scanner's", "KIP!>^BF", "Czech"},
		{"a Japanese scanner's", "KIP1'6BF", "Japanese"},
		{"a Turkish scanner's", "KIP1?6BF", "Turkish, Brazilian"},
		{"one that changes later characters only", "KIP1:6B#F", "keyboard country to US"},
		{"Caps Lock exchanges letters", "kip1:6bf", "Caps Lock"},
		{"a scanner that never presses shift", "kip1;6bf", "Caps Lock"},
		{"a bar code is no damaged code", "8801062518210", ""},
		{"a link is no damaged code", "https://example.com/kip1", ""},
		{"a code torn off is no damaged code", "KIP", ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			got := d.flaw(seen(c.code))
			if (got == "") != (c.remedy == "") || !strings.Contains(got, c.remedy) {
				t.Errorf("%q gave %q, want %q", c.code, got, c.remedy)
			}
		})
	}
	if got := newDamage(framing.Code{}).flaw(seen("KIP1>")); got != "" {
		t.Errorf("without a beginning to look for: %q", got)
	}
}

// TestEveryCountryIsRecognised types a code with all characters as a scanner of each country would.
func TestEveryCountryIsRecognised(t *testing.T) {
	d := newDamage(anyCode)
	for _, c := range countries {
		typed := typedAs("KIP1:"+base45, c.pairs)
		if got := d.flaw(seen(typed)); !strings.Contains(got, c.name) {
			t.Errorf("%s: %q gave %q", c.name, typed, got)
		}
		for pair := range strings.FieldsSeq(c.pairs) {
			if len(pair) != 2 || !strings.Contains(base45, pair[:1]) || pair[0] == pair[1] {
				t.Errorf("%s: %q is no pair of a character meant and one seen", c.name, pair)
			}
			if _, known := keyFor(pair[1]); !known {
				t.Errorf("%s: no US key types %q", c.name, pair[1:])
			}
		}
	}
}

func keyFor(c byte) (code int, known bool) {
	for code, keys := range us {
		if keys[0] == c || keys[1] == c {
			return code, true
		}
	}
	return 0, false
}
