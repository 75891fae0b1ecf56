package testkit

import (
	"fmt"
	"testing"
)

// badKeys are encodings that crypto/ed25519 takes for public keys, or that look like one: the y coordinates of the points
// whose order divides 8, as every list of them has it, and encodings of y + p that still fit into 255 bits; then those of
// no point at all. The sign bit may be set on each.
var badKeys = map[string]string{
	"order 1":                        "0100000000000000000000000000000000000000000000000000000000000000",
	"order 2":                        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"order 4":                        "0000000000000000000000000000000000000000000000000000000000000000",
	"order 8":                        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"order 8, the other":             "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"order 4, not canonical":         "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"order 1, not canonical":         "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"a large order, not canonical":   "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"the largest, not canonical":     "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"off the curve, y is 2":          "0200000000000000000000000000000000000000000000000000000000000000",
	"off the curve, y is 7 from end": "e6ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

// BadKeys returns 32-byte strings that no register may take for an Ed25519 public key, by what is wrong with them.
func BadKeys(t testing.TB) map[string][]byte {
	t.Helper()
	keys := map[string][]byte{}
	for what, text := range badKeys {
		for _, sign := range []byte{0, 0x80} {
			key := Unhex(t, text)
			key[31] |= sign
			keys[fmt.Sprintf("%s, sign %d", what, sign>>7)] = key
		}
	}
	return keys
}
