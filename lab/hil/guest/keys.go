package guest

import "fmt"

// key is one key of a US keyboard: its usage (HID Usage Tables 1.4, page 0x07) and the kernel's code for it
// (input-event-codes.h).
type key struct {
	usage byte
	code  uint16
	shift bool
}

const (
	shiftBit  = 1 << 1 // left shift in the first byte of a boot keyboard's report (HID 1.11, appendix B.1)
	shiftCode = 42
)

// keys has the key for each character a scanner types.
var keys = func() map[byte]key {
	m := map[byte]key{'\r': {40, 28, false}, '\n': {88, 96, false}, '\t': {43, 15, false}, ' ': {44, 57, false}} // \n is the keypad's Enter
	row := func(usage byte, code uint16, plain, shifted string) {
		for i := range len(plain) {
			m[plain[i]] = key{usage + byte(i), code + uint16(i), false}
			m[shifted[i]] = key{usage + byte(i), code + uint16(i), true}
		}
	}
	row(30, 2, "1234567890", "!@#$%^&*()")
	row(45, 12, "-=", "_+")
	row(47, 26, "[]", "{}")
	row(49, 43, `\`, "|")
	row(51, 39, ";'`", `:"~`)
	row(54, 51, ",./", "<>?")
	for i, c := range "qwertyuiop" {
		letter(m, byte(c), 16+uint16(i))
	}
	for i, c := range "asdfghjkl" {
		letter(m, byte(c), 30+uint16(i))
	}
	for i, c := range "zxcvbnm" {
		letter(m, byte(c), 44+uint16(i))
	}
	return m
}()

func letter(m map[byte]key, c byte, code uint16) {
	m[c] = key{4 + c - 'a', code, false}
	m[c-'a'+'A'] = key{4 + c - 'a', code, true}
}

func keyFor(c byte) (key, error) {
	k, ok := keys[c]
	if !ok {
		return key{}, fmt.Errorf("no key types the byte %#x", c)
	}
	return k, nil
}
