package evdevscan

// Key codes, from the kernel's include/uapi/linux/input-event-codes.h.
const (
	key1          = 2
	keyTab        = 15
	keyQ          = 16
	keyEnter      = 28
	keyLeftCtrl   = 29
	keyA          = 30
	keyLeftShift  = 42
	keyBackslash  = 43
	keyRightShift = 54
	keyKPAsterisk = 55
	keyLeftAlt    = 56
	keySpace      = 57
	keyCapsLock   = 58
	keyKP7        = 71
	keyKPDot      = 83
	key102nd      = 86
	keyRo         = 89
	keyKPJPComma  = 95
	keyKPEnter    = 96
	keyRightCtrl  = 97
	keyKPSlash    = 98
	keyRightAlt   = 100
	keyKPEqual    = 117
	keyKPComma    = 121
	keyYen        = 124
	keyLeftMeta   = 125
	keyRightMeta  = 126
	keyCount      = 0x300 // KEY_CNT
)

// alien stands in a frame for a key that types something on some keyboard, but nothing on a US one.
const alien = 0x1a

// keySet is a set of key codes, as EVIOCGKEY and EVIOCGBIT give it: the lowest bit of the first byte is key 0 on every
// little-endian machine, whatever its word size.
type keySet [keyCount / 8]byte

func (s *keySet) has(code uint16) bool { return code < keyCount && s[code/8]&(1<<(code%8)) != 0 }

func (s *keySet) add(code uint16) { s[code/8] |= 1 << (code % 8) }

// typesCodes tells whether a device with these keys can type an entry code: all letters and digits, and thereby no power
// button, media keys or mouse.
func (s *keySet) typesCodes() bool {
	for code, keys := range us {
		plain := keys[0]
		if (plain >= 'a' && plain <= 'z' || plain >= '0' && plain <= '9' && code < keyKP7) && !s.has(uint16(code)) {
			return false
		}
	}
	return true
}

// us has what a key types on a US keyboard alone and with shift; 0 is nothing. The keypad is always numeric.
var us = func() (t [128][2]byte) {
	for first, row := range map[int][2]string{
		key1:          {"1234567890-=", "!@#$%^&*()_+"},
		keyQ:          {"qwertyuiop[]", "QWERTYUIOP{}"},
		keyA:          {"asdfghjkl;'`", `ASDFGHJKL:"~`},
		keyBackslash:  {`\zxcvbnm,./`, "|ZXCVBNM<>?"},
		keyKP7:        {"789-456+1230.", "789-456+1230."},
		keySpace:      {" ", " "},
		keyKPAsterisk: {"*", "*"},
		keyKPSlash:    {"/", "/"},
		keyKPEqual:    {"=", "="},
		keyKPComma:    {",", ","},
		keyEnter:      {"\r", "\r"},
		keyKPEnter:    {"\r", "\r"},
		keyTab:        {"\t", "\t"},
	} {
		for i := range len(row[0]) {
			t[first+i] = [2]byte{row[0][i], row[1][i]}
		}
	}
	for _, code := range []int{key102nd, keyRo, keyKPJPComma, keyYen} {
		t[code] = [2]byte{alien, alien}
	}
	return t
}()

// modifiers are the keys that are held to change what others type.
type modifiers uint8

const (
	leftShift modifiers = 1 << iota
	rightShift
	leftCtrl
	rightCtrl
	leftAlt
	rightAlt
	leftMeta
	rightMeta

	shift = leftShift | rightShift
	ctrl  = leftCtrl | rightCtrl
	meta  = leftMeta | rightMeta
)

var modifierOf = map[uint16]modifiers{
	keyLeftShift: leftShift, keyRightShift: rightShift, keyLeftCtrl: leftCtrl, keyRightCtrl: rightCtrl,
	keyLeftAlt: leftAlt, keyRightAlt: rightAlt, keyLeftMeta: leftMeta, keyRightMeta: rightMeta,
}

// keyboard is the state of one device's keys. Beside plain keys it knows the ways in which scanners type what has no key:
// control characters as Ctrl and a letter, and any byte as its decimal number on the keypad while the left Alt is held.
type keyboard struct {
	held     modifiers
	caps     bool // letters are exchanged; off at the beginning of each code
	number   int  // typed on the keypad under Alt so far; what is more than a byte ends as ff, which is no text
	numbered bool
}

// key takes a key event and returns the character it types, if any. Repetitions are none: no scanner repeats a character
// by holding its key down, but the kernel does if a release comes late.
func (k *keyboard) key(code uint16, value int32) (c byte, typed bool) {
	if value != pressed && value != released {
		return 0, false
	}
	if m := modifierOf[code]; m != 0 {
		return k.modify(m, value == pressed)
	}
	switch {
	case value == released || k.held&meta != 0:
		return 0, false
	case code == keyCapsLock:
		k.caps = !k.caps
		return 0, false
	}
	if int(code) < len(us) {
		c = us[code][0]
	}
	switch {
	case c == 0:
		return 0, false
	case k.held&leftAlt != 0 && code >= keyKP7 && code < keyKPDot && c >= '0' && c <= '9':
		k.number, k.numbered = min(k.number*10+int(c-'0'), 1<<16), true
		return 0, false
	case k.held&(leftAlt|rightAlt) != 0:
		return alien, true
	case k.held&ctrl != 0:
		return control(c)
	}
	letter := c >= 'a' && c <= 'z'
	if shifted := k.held&shift != 0; shifted != (letter && k.caps) {
		c = us[code][1]
	}
	return c, true
}

func (k *keyboard) modify(m modifiers, down bool) (c byte, typed bool) {
	if down {
		k.held |= m
	} else {
		k.held &^= m
	}
	if m != leftAlt {
		return 0, false
	}
	number, numbered := k.number, k.numbered
	k.number, k.numbered = 0, false
	if down || !numbered {
		return 0, false
	}
	return byte(min(number, 0xff)), true
}

// control returns the control character that a key types with Ctrl: A to Z, [, \ and ] have one.
func control(plain byte) (byte, bool) {
	if c := plain &^ 0x20; c >= 'A' && c <= ']' && plain >= '@' {
		return c & 0x1f, true
	}
	return 0, false
}

// rest is called when a code is over: a scanner that works with Caps Lock sets it for each code, so that one lost event
// cannot exchange all letters from then on.
func (k *keyboard) rest() { k.caps = false }

// resume takes on the keys that are held.
func (k *keyboard) resume(held *keySet) {
	*k = keyboard{}
	for code, m := range modifierOf {
		if held.has(code) {
			k.held |= m
		}
	}
}
