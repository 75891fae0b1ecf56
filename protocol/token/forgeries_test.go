package token_test

import (
	"bytes"
	"encoding/binary"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// codeCase is one text and what has to become of it. reason is a part of the error's text, so that a code is refused
// for its own fault and not for another.
type codeCase struct {
	name, class, reason, text string
}

const (
	classGenuine  = "genuine"
	classNotACode = "not-a-code"
	classUnknown  = "unknown-issuer"
	classForged   = "not-genuine"
)

func genuineCodes() []codeCase {
	cti := testCTI()
	full := func(name string) []byte {
		return encodedMap(pair{1, name}, pair{4, issuedAt.Unix() + 15}, pair{6, issuedAt.Unix()}, pair{7, cti[:]})
	}
	narrow := func(iat int64) string {
		return textOf(newForm(narrowKey, encodedMap(pair{1, narrowIssuer}, pair{4, iat + 15}, pair{6, iat}, pair{7, cti[:]})).sign(narrowKey))
	}
	good := func(payload []byte) string { return textOf(newForm(issuerKey, payload).sign(issuerKey)) }
	return []codeCase{
		{"an ordinary code", classGenuine, "", good(encodedMap(goodClaims()...))},
		{"the shortest issuer name", classGenuine, "", textOf(newForm(shortKey, full(shortIssuer)).sign(shortKey))},
		{"the longest issuer name", classGenuine, "", textOf(newForm(longKey, full(longIssuer)).sign(longKey))},
		{"the earliest time of issue", classGenuine, "", good(at(1))},
		{"the latest time of issue", classGenuine, "", good(at(maxTime.Unix()))},
		{"a cti of zeros", classGenuine, "", good(with(7, make([]byte, 44)))},
		{"issued at the first second of its key", classGenuine, "", narrow(narrowFrom.Unix())},
		{"issued at the last second of its key", classGenuine, "", narrow(narrowTo.Unix())},
		{"issued a second before its key", classForged, "outside the validity", narrow(narrowFrom.Unix() - 1)},
		{"issued a second after its key", classForged, "outside the validity", narrow(narrowTo.Unix() + 1)},
	}
}

// textCases never reach the envelope.
func textCases() []codeCase {
	text := genuineCodes()[0].text
	return []codeCase{
		{"nothing", classNotACode, "does not begin", ""},
		{"a product's barcode", classNotACode, "does not begin", "8801234567893"},
		{"an address", classNotACode, "does not begin", "https://example.com/?q=KIP1:"},
		{"the prefix of another scheme", classNotACode, "does not begin", "HC1:" + text[len("KIP1:"):]},
		{"the prefix of another version", classNotACode, "does not begin", "KIP2:" + text[len("KIP1:"):]},
		{"the prefix in small letters", classNotACode, "does not begin", "kip1:" + text[len("KIP1:"):]},
		{"a space before the prefix", classNotACode, "does not begin", " " + text},
		{"the prefix alone", classNotACode, "not a tagged", "KIP1:"},
		{"a terminator left on", classNotACode, "base45", text + "\r"},
		{"a letter too many", classNotACode, "one character over", text + "A"},
		{"a small letter", classNotACode, "outside the alphabet", text[:40] + "a" + text[41:]},
		{"a NUL byte", classNotACode, "outside the alphabet", text[:40] + "\x00" + text[41:]},
		{"a group over 65535", classNotACode, "larger than", text[:5] + "GGW" + text[8:]},
		{"a last group over 255", classNotACode, "larger than", text[:5] + "U6"},
		{"longer than is read", classNotACode, "at most 512", strings.Repeat("KIP1:", 103)},
	}
}

func envelopeCases() []codeCase {
	payload := encodedMap(goodClaims()...)
	good := newForm(issuerKey, payload)
	h := good.protected
	kid := h[5:]
	change := func(f func(*form)) string {
		g := good
		f(&g)
		return textOf(g.sign(issuerKey))
	}
	protect := func(p []byte) string { return change(func(f *form) { f.protected = p }) }
	raw := good.sign(issuerKey)
	const noEnvelope = "not a tagged COSE_Sign1"
	cases := []codeCase{
		{"no tag", classNotACode, noEnvelope, change(func(f *form) { f.open = []byte{0x84} })},
		{"the tag of COSE_Sign", classNotACode, noEnvelope, change(func(f *form) { f.open = []byte{0xd8, 98, 0x84} })},
		{"tag 18 in two bytes", classNotACode, noEnvelope, change(func(f *form) { f.open = []byte{0xd8, 18, 0x84} })},
		{"tag 18 twice", classNotACode, noEnvelope, change(func(f *form) { f.open = []byte{0xd2, 0xd2, 0x84} })},
		{"the CWT tag before", classNotACode, noEnvelope, change(func(f *form) { f.open = []byte{0xd8, 61, 0xd2, 0x84} })},
		{"the self-described tag before", classNotACode, noEnvelope, change(func(f *form) { f.open = []byte{0xd9, 0xd9, 0xf7, 0xd2, 0x84} })},
		{"an array of five", classNotACode, noEnvelope, change(func(f *form) { f.open, f.tail = []byte{0xd2, 0x85}, []byte{0xf6} })},
		{"an array of three", classNotACode, noEnvelope, change(func(f *form) { f.open = []byte{0xd2, 0x83} })},
		{"an array of indefinite length", classNotACode, noEnvelope, change(func(f *form) { f.open, f.tail = []byte{0xd2, 0x9f}, []byte{0xff} })},
		{"an array head in two bytes", classNotACode, noEnvelope, change(func(f *form) { f.open = []byte{0xd2, 0x98, 0x04} })},
		{"a byte after the end", classNotACode, noEnvelope, change(func(f *form) { f.tail = []byte{0} })},
		{"cut by one byte", classNotACode, noEnvelope, textOf(raw[:len(raw)-1])},
		{"cut after the header", classNotACode, noEnvelope, textOf(raw[:17])},
		{"cut within the key identifier", classNotACode, noEnvelope, textOf(raw[:12])},

		{"no protected header", classNotACode, noEnvelope, protect([]byte{})},
		{"the protected header as a map", classNotACode, noEnvelope, change(func(f *form) { f.protectedAs = f.protected })},
		{"the protected header of indefinite length", classNotACode, noEnvelope, change(func(f *form) { f.protectedAs = join([]byte{0x5f}, bstr(f.protected), []byte{0xff}) })},
		{"the protected header's length in two bytes", classNotACode, noEnvelope, change(func(f *form) { f.protectedAs = join([]byte{0x58, 13}, f.protected) })},
		{"ES256 for algorithm", classNotACode, noEnvelope, protect(join([]byte{0xa2, 1, 0x26, 4, 0x48}, kid))},
		{"the algorithm by name", classNotACode, noEnvelope, protect(encodedMap(pair{1, "EdDSA"}, pair{4, kid}))},
		{"the algorithm in two bytes", classNotACode, noEnvelope, protect(join([]byte{0xa2, 1, 0x38, 7, 4, 0x48}, kid))},
		{"no algorithm", classNotACode, noEnvelope, protect(encodedMap(pair{4, kid}))},
		{"no key identifier", classNotACode, noEnvelope, protect(encodedMap(pair{1, -8}))},
		{"a key identifier of 7 bytes", classNotACode, noEnvelope, protect(encodedMap(pair{1, -8}, pair{4, kid[:7]}))},
		{"a key identifier of 9 bytes", classNotACode, noEnvelope, protect(encodedMap(pair{1, -8}, pair{4, append(bytes.Clone(kid), 0)}))},
		{"the key identifier as text", classNotACode, noEnvelope, protect(join([]byte{0xa2, 1, 0x27, 4, 0x68}, []byte("abcdefgh")))},
		{"the key identifier before the algorithm", classNotACode, noEnvelope, protect(encodedMap(pair{4, kid}, pair{1, -8}))},
		{"the algorithm twice", classNotACode, noEnvelope, protect(encodedMap(pair{1, -8}, pair{1, -8}, pair{4, kid}))},
		{"a third parameter", classNotACode, noEnvelope, protect(encodedMap(pair{1, -8}, pair{3, 0}, pair{4, kid}))},
		{"a critical parameter", classNotACode, noEnvelope, protect(encodedMap(pair{1, -8}, pair{2, []int{4}}, pair{4, kid}))},
		{"a byte after the protected map", classNotACode, noEnvelope, protect(append(bytes.Clone(h), 0))},
		{"the key identifier unprotected", classNotACode, noEnvelope, change(func(f *form) {
			f.protected, f.unprotected = encodedMap(pair{1, -8}), encodedMap(pair{4, kid})
		})},
		{"the algorithm unprotected", classNotACode, noEnvelope, change(func(f *form) {
			f.protected, f.unprotected = encodedMap(pair{4, kid}), encodedMap(pair{1, -8})
		})},
		{"another algorithm unprotected as well", classNotACode, noEnvelope, change(func(f *form) { f.unprotected = encodedMap(pair{1, -7}) })},
		{"another key identifier unprotected as well", classNotACode, noEnvelope, change(func(f *form) { f.unprotected = encodedMap(pair{4, make([]byte, 8)}) })},
		{"anything unprotected", classNotACode, noEnvelope, change(func(f *form) { f.unprotected = encodedMap(pair{"x", 1}) })},
		{"deep nesting, unprotected", classNotACode, noEnvelope, change(func(f *form) {
			f.unprotected = encodedMap(pair{"x", verbatim(append(bytes.Repeat([]byte{0x81}, 40), 0))})
		})},
		{"the unprotected header as null", classNotACode, noEnvelope, change(func(f *form) { f.unprotected = []byte{0xf6} })},
		{"the unprotected header of indefinite length", classNotACode, noEnvelope, change(func(f *form) { f.unprotected = []byte{0xbf, 0xff} })},

		{"a detached payload", classNotACode, "detached", change(func(f *form) { f.shown = []byte{0xf6} })},
		{"an undefined payload", classNotACode, noEnvelope, change(func(f *form) { f.shown = []byte{0xf7} })},
		{"the payload as a map", classNotACode, noEnvelope, change(func(f *form) { f.shown = f.payload })},
		{"the payload as text", classNotACode, noEnvelope, change(func(f *form) { f.payload, f.shown = []byte("claims"), item("claims") })},
		{"the payload of indefinite length", classNotACode, noEnvelope, change(func(f *form) { f.shown = join([]byte{0x5f}, bstr(f.payload), []byte{0xff}) })},
		{"the payload tagged", classNotACode, noEnvelope, change(func(f *form) { f.shown = join([]byte{0xd8, 24}, bstr(f.payload)) })},
		{"the payload's length in three bytes", classNotACode, "not deterministically", change(func(f *form) {
			f.shown = join([]byte{0x59, 0, byte(len(f.payload))}, f.payload)
		})},
		{"the signature's length in three bytes", classNotACode, "not deterministically", change(func(f *form) { f.signatureAs = []byte{0x59, 0, 64} })},
		{"a signature of 63 bytes", classNotACode, "64 bytes", change(func(f *form) { f.signature = func(s []byte) []byte { return s[:63] } })},
		{"a signature of 65 bytes", classNotACode, "64 bytes", change(func(f *form) { f.signature = func(s []byte) []byte { return append(s, 0) } })},
		{"an empty signature", classNotACode, noEnvelope, change(func(f *form) { f.signature = func([]byte) []byte { return nil } })},
		{"the signature as null", classNotACode, noEnvelope, change(func(f *form) {
			f.signature, f.signatureAs = func([]byte) []byte { return nil }, []byte{0xf6}
		})},
	}
	return cases
}

func signatureCases() []codeCase {
	good := newForm(issuerKey, encodedMap(goodClaims()...))
	const wrong = "signature does not match"
	change := func(f func(*form)) string {
		g := good
		f(&g)
		return textOf(g.sign(issuerKey))
	}
	return []codeCase{
		{"signed by a key outside the list", classUnknown, "", textOf(newForm(strangerKey, good.payload).sign(strangerKey))},
		{"signed by a stranger under an issuer's key identifier", classForged, wrong, textOf(good.sign(strangerKey))},
		{"signed by an issuer under another's key identifier", classForged, wrong, textOf(good.sign(longKey))},
		{"a bit of R changed", classForged, wrong, change(func(f *form) { f.signature = func(s []byte) []byte { s[3] ^= 1; return s } })},
		{"a bit of S changed", classForged, wrong, change(func(f *form) { f.signature = func(s []byte) []byte { s[40] ^= 1; return s } })},
		{"S plus the group's order", classForged, wrong, change(func(f *form) { f.signature = plusOrder })},
		{"a signature of zeros", classForged, wrong, change(func(f *form) { f.signature = func([]byte) []byte { return make([]byte, 64) } })},
		{"a bit of the claims changed", classForged, wrong, change(func(f *form) {
			other := with(6, issuedAt.Unix()+1)
			f.shown = bstr(other)
		})},
		{"signed with additional data", classForged, wrong, change(func(f *form) { f.external = []byte("kipass") })},
		{"signed as COSE_Sign", classForged, wrong, change(func(f *form) { f.context = "Signature" })},
		{"signed over another header", classForged, wrong, change(func(f *form) { f.signedAs = []byte{0xa1, 1, 0x27} })},
		{"an issuer signs in another's name", classForged, "iss is not", textOf(newForm(longKey, good.payload).sign(longKey))},
	}
}

// plusOrder makes the other S that satisfies the equation; RFC 8032 section 5.1.7 demands the smaller.
func plusOrder(sig []byte) []byte {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := slices.Clone(sig[32:])
	slices.Reverse(s)
	sum := new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
	slices.Reverse(sum)
	return append(slices.Clone(sig[:32]), sum...)
}

func claimCases() []codeCase {
	cti := testCTI()
	iat := issuedAt.Unix()
	good := goodClaims()
	signed := func(payload []byte) string { return textOf(newForm(issuerKey, payload).sign(issuerKey)) }
	padded := func(n int) string { // a payload of n bytes: a good one with an unknown claim
		head := encodedMap(append(goodClaims(), pair{8, verbatim(nil)})...)
		return signed(append(head, bstr(make([]byte, n-len(head)-2))...))
	}
	const notMap, order = "exactly iss, exp, iat and cti", "deterministically"
	return []codeCase{
		{"no iss", classForged, "iss is", signed(without(1))},
		{"no exp", classForged, "exp is", signed(without(4))},
		{"no iat", classForged, "iat is", signed(without(6))},
		{"no cti", classForged, "cti is", signed(without(7))},
		{"no claims", classForged, "iss is", signed([]byte{0xa0})},
		{"an empty payload", classForged, notMap, signed([]byte{})},
		{"an unknown claim", classForged, notMap, signed(encodedMap(append(good, pair{8, 1})...))},
		{"an unknown claim before", classForged, notMap, signed(encodedMap(append([]pair{{0, 1}}, good...)...))},
		{"a claim named by text", classForged, notMap, signed(encodedMap(append(good, pair{"iss", issuer})...))},
		{"iss twice", classForged, notMap, signed(encodedMap(append([]pair{good[0]}, good...)...))},
		{"exp twice, differing", classForged, notMap, signed(encodedMap(good[0], good[1], pair{4, iat + 16}, good[2], good[3]))},
		{"claims out of order", classForged, order, signed(encodedMap(good[0], good[2], good[1], good[3]))},
		{"claims of indefinite length", classForged, notMap, signed(join([]byte{0xbf}, encodedMap(good...)[1:], []byte{0xff}))},
		{"a byte after the claims", classForged, notMap, signed(append(encodedMap(good...), 0))},
		{"the claims' head in two bytes", classForged, order, signed(join([]byte{0xb8, 4}, encodedMap(good...)[1:]))},
		{"a claim's key in two bytes", classForged, order, signed(encodedMap(pair{verbatim{0x18, 1}, issuer}, good[1], good[2], good[3]))},
		{"the claims as an array", classForged, notMap, signed(item([]any{issuer, iat + 15, iat, cti[:]}))},
		{"the claims tagged", classForged, notMap, signed(join([]byte{0xd8, 61}, encodedMap(good...)))},
		{"the claims cut short", classForged, notMap, signed(encodedMap(good...)[:60])},
		{"the claims null", classForged, "iss is", signed([]byte{0xf6})},

		{"an empty iss", classForged, "iss is", signed(with(1, ""))},
		{"an iss of 17 characters", classForged, "iss is", signed(with(1, longIssuer+"x"))},
		{"an iss in capitals", classForged, "iss is", signed(with(1, "NAVER"))},
		{"an iss with a dot", classForged, "iss is", signed(with(1, "naver.com"))},
		{"an iss in Hangul", classForged, "iss is", signed(with(1, "네이버"))},
		{"an iss that is not UTF-8", classForged, notMap, signed(with(1, verbatim("\x65nav\xff\xfe")))},
		{"iss as bytes", classForged, notMap, signed(with(1, []byte(issuer)))},
		{"iss as a number", classForged, notMap, signed(with(1, 5))},
		{"iss null", classForged, "iss is", signed(with(1, nil))},
		{"iss of indefinite length", classForged, notMap, signed(with(1, verbatim("\x7f\x65naver\xff")))},

		{"exp a second early", classForged, "exp is", signed(with(4, iat+14))},
		{"exp a second late", classForged, "exp is", signed(with(4, iat+16))},
		{"exp a day late", classForged, "exp is", signed(with(4, iat+86400))},
		{"exp before iat", classForged, "exp is", signed(with(4, iat-15))},
		{"exp as a floating-point number", classForged, notMap, signed(with(4, float64(iat+15)))},
		{"exp as text", classForged, notMap, signed(with(4, strconv.FormatInt(iat+15, 10)))},
		{"exp in eight bytes", classForged, order, signed(with(4, verbatim(binary.BigEndian.AppendUint64([]byte{0x1b}, uint64(iat+15)))))},
		{"exp as a big number", classForged, notMap, signed(with(4, verbatim(binary.BigEndian.AppendUint32([]byte{0xc2, 0x44}, uint32(iat+15)))))},
		{"iat tagged as a time", classForged, notMap, signed(with(6, verbatim(binary.BigEndian.AppendUint32([]byte{0xc1, 0x1a}, uint32(iat)))))},
		{"iat as a floating-point number", classForged, notMap, signed(with(6, float64(iat)+0.5))},
		{"iat 0", classForged, "iat is", signed(at(0))},
		{"iat before 1970", classForged, "iat is", signed(at(-1))},
		{"iat after 9999", classForged, "iat is", signed(at(maxTime.Unix() + 1))},
		{"iat over 63 bits", classForged, notMap, signed(with(6, uint64(1)<<63))},

		{"a cti of 43 bytes", classForged, "cti is", signed(with(7, cti[:43]))},
		{"a cti of 45 bytes", classForged, "cti is", signed(with(7, append(cti[:], 0)))},
		{"an empty cti", classForged, "cti is", signed(with(7, []byte{}))},
		{"the cti as text", classForged, notMap, signed(with(7, strings.Repeat("x", 44)))},
		{"the cti as an array of numbers", classForged, order, signed(with(7, verbatim(append([]byte{0x98, 44}, bytes.Repeat([]byte{1}, 44)...))))},
		{"the cti's length in three bytes", classForged, order, signed(with(7, verbatim(append([]byte{0x59, 0, 44}, cti[:]...))))},
		{"the cti tagged", classForged, notMap, signed(with(7, verbatim(append([]byte{0xd8, 24, 0x58, 44}, cti[:]...))))},

		{"a text of exactly 512 characters is read", classForged, notMap, padded(253)},
		{"a text of 514 characters is not", classNotACode, "at most 512", padded(254)},
	}
}
