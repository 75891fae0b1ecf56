package drivertest

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"

	"github.com/kipass/kipass/drivers/framing"
)

const base45 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"

// Codes describes the codes of tests: they look like entry codes and end with a check sum, so that one with a character too
// many or too few is none.
var Codes = framing.Code{Begins: begins, Alphabet: base45, Is: isCode}

const (
	begins  = "KIP1:"
	sumSize = 8
)

func isCode(text []byte) bool {
	n := len(text) - sumSize
	return n > 0 && strings.HasPrefix(string(text), begins) && string(text[n:]) == sum(string(text[:n]))
}

func sum(text string) string { return fmt.Sprintf("%08X", crc32.ChecksumIEEE([]byte(text))) }

// Code returns a code of n bytes, at least 21, a different one for every i. Like an entry code it holds spaces and does not
// end with one.
func Code(i, n int) string {
	r := rand.New(rand.NewPCG(uint64(i), uint64(n)))
	b := []byte(fmt.Sprintf("%s%07d ", begins, i))
	for len(b) < n-sumSize {
		b = append(b, base45[r.IntN(len(base45))])
	}
	return string(b) + sum(string(b))
}
