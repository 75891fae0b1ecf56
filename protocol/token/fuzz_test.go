package token_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/token"
)

// FuzzParse holds that any text has exactly one class, that what is genuine is exactly what Sign makes, and that nothing panics.
func FuzzParse(f *testing.F) {
	for _, c := range allCases() {
		f.Add([]byte(c.text))
	}
	keys := newRing()
	f.Fuzz(func(t *testing.T, text []byte) {
		code, class, err := judge(string(text), keys)
		switch class {
		case classGenuine:
			for _, c := range genuineCodes() {
				if c.text == string(text) {
					return
				}
			}
			t.Fatalf("a code nobody signed is genuine: %v", code)
		case classNotACode, classUnknown, classForged:
			if code != (token.Code{}) {
				t.Fatal("a Code beside an error")
			}
		default:
			t.Fatalf("%s: %v", class, err)
		}
	})
}

// FuzzEnvelope gives the bytes inside the text, where the fuzzer gets further.
func FuzzEnvelope(f *testing.F) {
	for _, c := range append(envelopeCases(), claimCases()...) {
		if raw, err := token.DecodeBase45(nil, []byte(c.text[len(token.Prefix):])); err == nil {
			f.Add(raw)
		}
	}
	keys := newRing()
	f.Fuzz(func(t *testing.T, raw []byte) {
		u, err := token.Parse([]byte(textOf(raw)))
		if err != nil {
			if !errors.Is(err, token.ErrNotACode) {
				t.Fatal(err)
			}
			return
		}
		// Every byte of an envelope but key identifier, payload and signature is fixed.
		if len(raw) < 17+1+66 || !bytes.HasPrefix(raw, []byte{0xd2, 0x84, 0x4d, 0xa2, 1, 0x27, 4, 0x48}) || raw[16] != 0xa0 || !bytes.Equal(raw[len(raw)-66:len(raw)-64], []byte{0x58, 64}) {
			t.Fatalf("%x is taken for a code", raw)
		}
		if body := raw[17 : len(raw)-66]; !bytes.Equal(bstr(payloadOf(body)), body) {
			t.Fatalf("payload %x is not the shortest encoding", body)
		}
		if _, err := u.Verify(keys); err != nil && !errors.Is(err, token.ErrUnknownIssuer) && !errors.Is(err, token.ErrNotGenuine) {
			t.Fatal(err)
		}
	})
}

func payloadOf(body []byte) []byte {
	switch {
	case body[0] < 0x58:
		return body[1:]
	case body[0] == 0x58:
		return body[min(2, len(body)):]
	default:
		return body[min(3, len(body)):]
	}
}

// FuzzClaims signs whatever the fuzzer makes: only an exact CWT may become a Code, and signing that again gives the same bytes.
func FuzzClaims(f *testing.F) {
	f.Add(encodedMap(goodClaims()...))
	for _, c := range claimCases() {
		if raw, err := token.DecodeBase45(nil, []byte(c.text[len(token.Prefix):])); err == nil && len(raw) > 19+66 {
			f.Add(raw[19 : len(raw)-66])
		}
	}
	keys := newRing()
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) > 250 {
			return
		}
		text := textOf(newForm(issuerKey, payload).sign(issuerKey))
		code, class, err := judge(text, keys)
		switch class {
		case classGenuine:
			again, err := token.Sign(issuerKey, code.Issuer(), code.IssuedAt(), code.CTI())
			if err != nil || again != text {
				t.Fatalf("payload %x is genuine, but Sign makes another (%v)", payload, err)
			}
		case classForged:
		default:
			t.Fatalf("%s: %v", class, err)
		}
	})
}

// FuzzBase45 holds that encoding and strict decoding are each other's inverse on all inputs.
func FuzzBase45(f *testing.F) {
	for _, s := range []string{"", "AB", "Hello!!", "BB8", "%69 VD92EX0", "FGW", "GGW", "U5", "V5", "B", ":::", "QED8WEX0", "a"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		encoded := token.EncodeBase45(nil, b)
		if back, err := token.DecodeBase45(nil, encoded); err != nil || !bytes.Equal(back, b) {
			t.Fatalf("%x comes back as %x (%v)", b, back, err)
		}
		plain, err := token.DecodeBase45(nil, b)
		if err != nil {
			if plain != nil {
				t.Fatal("bytes beside an error")
			}
			return
		}
		if again := token.EncodeBase45(nil, plain); !bytes.Equal(again, b) {
			t.Fatalf("%q and %q decode to the same bytes", b, again)
		}
	})
}

// FuzzOpenTrustList gives whole lists, and payloads that the root signs.
func FuzzOpenTrustList(f *testing.F) {
	v := readVectors(f)
	for _, l := range v.Lists {
		raw := testkit.Unhex(f, l.Signed)
		f.Add(raw, false)
		if len(raw) > 20+66 {
			f.Add(raw[20:len(raw)-66], true)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, sign bool) {
		if len(raw) > 60_000 {
			return
		}
		if sign {
			raw = newForm(rootKey, raw).sign(rootKey)
		}
		list, err := token.OpenTrustList(public(rootKey), raw)
		if err != nil {
			if !errors.Is(err, token.ErrTrustList) || list.Version != 0 || list.Issuers != nil {
				t.Fatalf("%v beside list version %d", err, list.Version)
			}
			return
		}
		if again, err := token.SignTrustList(rootKey, list); err != nil || !bytes.Equal(again, raw) {
			t.Fatalf("an accepted list is signed again as other bytes (%v)", err)
		}
	})
}

// FuzzEdgesOfBase45 holds what drivers rely on that strip spaces around a code, though a space is of the alphabet: nothing
// that is base45 of any bytes ends with one, and what ends with one is base45 of none.
func FuzzEdgesOfBase45(f *testing.F) {
	f.Add([]byte{0xff, 0xff})
	f.Add([]byte{0xff})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if text := token.EncodeBase45(nil, raw); len(text) > 0 && text[len(text)-1] == ' ' {
			t.Fatalf("base45 of %x ends with a space", raw)
		}
		if _, err := token.DecodeBase45(nil, append(token.EncodeBase45(nil, raw[:len(raw)/2]), ' ')); err == nil {
			t.Fatal("a text that ends with a space is read")
		}
	})
}
