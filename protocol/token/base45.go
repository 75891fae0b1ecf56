package token

import "errors"

// Base45 as RFC 9285 section 4: two bytes become three characters, a last single byte two, least significant first.

// Alphabet has the characters of which a code's text consists, in the order of their values.
const Alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"

var values45 = func() (v [256]byte) {
	for i := range v {
		v[i] = 0xff
	}
	for i := range len(Alphabet) {
		v[Alphabet[i]] = byte(i)
	}
	return v
}()

var (
	errBase45Length    = errors.New("base45: length leaves one character over")
	errBase45Character = errors.New("base45: character outside the alphabet")
	errBase45Overflow  = errors.New("base45: group is larger than its bytes can hold")
)

func encodeBase45(dst, src []byte) []byte {
	for ; len(src) >= 2; src = src[2:] {
		n := uint(src[0])<<8 | uint(src[1])
		dst = append(dst, Alphabet[n%45], Alphabet[n/45%45], Alphabet[n/(45*45)])
	}
	if len(src) == 1 {
		n := uint(src[0])
		dst = append(dst, Alphabet[n%45], Alphabet[n/45])
	}
	return dst
}

func decodeBase45(dst, src []byte) ([]byte, error) {
	if len(src)%3 == 1 {
		return nil, errBase45Length
	}
	for len(src) > 0 {
		a, b := values45[src[0]], values45[src[1]]
		if a == 0xff || b == 0xff {
			return nil, errBase45Character
		}
		n := uint(a) + uint(b)*45
		if len(src) == 2 {
			if n > 0xff {
				return nil, errBase45Overflow
			}
			return append(dst, byte(n)), nil
		}
		c := values45[src[2]]
		if c == 0xff {
			return nil, errBase45Character
		}
		if n += uint(c) * 45 * 45; n > 0xffff {
			return nil, errBase45Overflow
		}
		dst = append(dst, byte(n>>8), byte(n))
		src = src[3:]
	}
	return dst, nil
}
