package evdevscan

import (
	"strings"
	"testing"
)

// strokes plays a script of keys: "+a" presses, "-a" releases, "=a" repeats, and "a" presses and releases. Names are those
// of keyNames, else the character the key types alone.
func strokes(k *keyboard, script string) string {
	var out []byte
	for word := range strings.FieldsSeq(script) {
		name := strings.TrimLeft(word, "+-=")
		code, known := keyNames[name]
		if !known {
			code, _ = keyOf(name[0])
		}
		values, marked := map[string][]int32{"+": {pressed}, "-": {released}, "=": {repeated}}[word[:len(word)-len(name)]]
		if !marked {
			values = []int32{pressed, released}
		}
		for _, value := range values {
			if c, typed := k.key(code, value); typed {
				out = append(out, c)
			}
		}
	}
	return string(out)
}

var keyNames = map[string]uint16{
	"LSHIFT": keyLeftShift, "RSHIFT": keyRightShift, "LCTRL": keyLeftCtrl, "RCTRL": keyRightCtrl, "LALT": keyLeftAlt,
	"RALT": keyRightAlt, "LMETA": keyLeftMeta, "RMETA": keyRightMeta, "CAPS": keyCapsLock, "ENTER": keyEnter,
	"KPENTER": keyKPEnter, "TAB": keyTab, "SPACE": keySpace, "NUM": 69, "F1": 59, "HANGUL": 122, "HANJA": 123, "102": key102nd,
	"RO": keyRo, "YEN": keyYen, "KP0": 82, "KP1": 79, "KP2": 80, "KP3": 81, "KP4": 75, "KP5": 76, "KP6": 77, "KP7": 71,
	"KP8": 72, "KP9": 73, "KP.": 83, "KP-": 74, "KP+": 78, "KP*": 55, "KP/": 98, "POWER": 116, "BEYOND": 0x2ff,
}

func TestKeys(t *testing.T) {
	for _, c := range []struct{ rule, script, want string }{
		{"a key alone types its small letter", "k i p 1 ;", "kip1;"},
		{"the left shift changes it", "+LSHIFT k 1 ; -LSHIFT k", "K!:k"},
		{"the right shift does too", "+RSHIFT k -RSHIFT 1", "K1"},
		{"one shift of two is enough", "+LSHIFT +RSHIFT -LSHIFT a -RSHIFT a", "Aa"},
		{"a repetition types nothing", "+a =a =a -a +LSHIFT =LSHIFT b -LSHIFT", "aB"},
		{"the same key twice types twice", "a a", "aa"},
		{"caps exchanges letters", "CAPS a 1 ; +LSHIFT a 1 -LSHIFT CAPS a", "A1;a!a"},
		{"the keypad is numeric whatever Num Lock says", "KP1 NUM KP2 +LSHIFT KP3 -LSHIFT KP. KP- KP+ KP* KP/", "123.-+*/"},
		{"Enter, keypad Enter and Tab are ends", "ENTER KPENTER TAB", "\r\r\t"},
		{"keys without character type nothing", "F1 HANGUL HANJA POWER BEYOND a", "a"},
		{"keys of other countries leave a mark", "102 RO YEN a", "\x1a\x1a\x1aa"},
		{"the right Alt leaves a mark", "+RALT q -RALT a", "\x1aa"},
		{"Ctrl types control characters", "+LCTRL m i ] -LCTRL +RCTRL c -RCTRL m", "\r\t\x1d\x03m"},
		{"Ctrl with what has none types nothing", "+LCTRL 1 ENTER -LCTRL 1", "1"},
		{"Meta types nothing", "+LMETA a -LMETA +RMETA a -RMETA a", "a"},
		{"a number under Alt is a byte", "+LALT KP0 KP7 KP5 -LALT +LALT KP1 KP3 -LALT b", "K\rb"},
		{"a number that is no byte is no text", "+LALT KP4 KP4 KP0 KP3 KP2 -LALT +LALT KP9 KP9 KP9 KP9 KP9 KP9 KP9 KP9 KP9 KP9 -LALT", "\xff\xff"},
		{"Alt alone types nothing", "+LALT -LALT a KP1", "a1"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if got := strokes(&keyboard{}, c.script); got != c.want {
				t.Errorf("%s typed %q, want %q", c.script, got, c.want)
			}
		})
	}
}

func TestEveryPrintableCharacterIsTypedAsItIs(t *testing.T) {
	var k keyboard
	for c := byte(' '); c <= '~'; c++ {
		var got []byte
		for _, e := range typed([]byte{c}) {
			if e.kind != evKey {
				continue
			}
			if c, typed := k.key(e.code, e.value); typed {
				got = append(got, c)
			}
		}
		if string(got) != string(c) {
			t.Errorf("%q came as %q", c, got)
		}
	}
}

func TestResumeTakesOnWhatIsHeld(t *testing.T) {
	k := keyboard{caps: true, held: leftCtrl, number: 65, numbered: true}
	var held keySet
	held.add(keyRightShift)
	held.add(keyA)
	k.resume(&held)
	if got := strokes(&k, "a -RSHIFT a"); got != "Aa" {
		t.Errorf("typed %q, want Aa", got)
	}
}

// FuzzKeyboard holds that whatever came before, a device whose modifiers are up types codes undamaged after a rest.
func FuzzKeyboard(f *testing.F) {
	f.Add([]byte{42, 1, 30, 1, 58, 1, 56, 1, 79, 1})
	f.Add([]byte{0xff, 0xff, 100, 2, 54, 1, 54, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		var k keyboard
		for ; len(in) >= 2; in = in[2:] {
			code := uint16(in[0]) | uint16(in[1]&0xfc)<<6
			if c, typed := k.key(code, int32(in[1]&3)); !typed && c != 0 {
				t.Fatalf("a character beside none")
			}
		}
		for code := range modifierOf {
			k.key(code, released)
		}
		k.rest()
		const text = "KIP1:$%*+-./ 09AZ"
		var got []byte
		for _, e := range typed([]byte(text)) {
			if c, typed := k.key(e.code, e.value); e.kind == evKey && typed {
				got = append(got, c)
			}
		}
		if string(got) != text {
			t.Fatalf("typed %q, want %q", got, text)
		}
	})
}
