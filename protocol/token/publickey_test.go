package token_test

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/token"
)

// The y coordinates of the points whose order divides 8 and the encodings of y + p that still fit, as every list of them
// has it; the sign bit may be set on each.
var smallOrder = []string{
	"0100000000000000000000000000000000000000000000000000000000000000",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

func TestSmallOrderKeysAreRefused(t *testing.T) {
	for _, s := range smallOrder {
		for _, sign := range []byte{0, 0x80} {
			pub := ed25519.PublicKey(testkit.Unhex(t, s))
			pub[31] |= sign
			if err := token.CheckPublicKey(pub); err == nil {
				t.Errorf("%x is taken for a key", []byte(pub))
			}
		}
	}
}

// TestSmallOrderKeysWouldSignForAnybody shows why: without any private key, S = 0 and a small-order R verify for some message.
func TestSmallOrderKeysWouldSignForAnybody(t *testing.T) {
	for _, s := range smallOrder[:5] {
		pub, forged := ed25519.PublicKey(testkit.Unhex(t, s)), make([]byte, ed25519.SignatureSize)
		copy(forged, testkit.Unhex(t, smallOrder[0]))
		found := false
		for i := 0; i < 256 && !found; i++ {
			found = ed25519.Verify(pub, fmt.Append(nil, i), forged)
		}
		if !found {
			t.Errorf("%s: no forgery found; is the point of small order?", s)
		}
	}
}

func TestPublicKeysOfTheCurve(t *testing.T) {
	points := 0
	for i := range 200 {
		key := testKey(fmt.Sprint("key ", i))
		if err := token.CheckPublicKey(public(key)); err != nil {
			t.Errorf("key %d: %v", i, err)
		}
		// Any 32 bytes name a point in about half of the cases; crypto/ed25519 cannot be asked, but the count can be.
		if token.CheckPublicKey(ed25519.PublicKey(key.Seed())) == nil {
			points++
		}
	}
	if points < 60 || points > 140 {
		t.Errorf("%d of 200 random strings are points, want about 100", points)
	}
	// The test vectors' keys of RFC 8032 section 7.1.
	for _, s := range []string{
		"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
		"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
		"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
		"278117fc144c72340f67d0f2316e8386ceffbf2b2428c9c51fef7c597f1d426e",
		"ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
	} {
		if err := token.CheckPublicKey(testkit.Unhex(t, s)); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	top, _ := hex.DecodeString(strings.Repeat("ff", 32))
	if err := token.CheckPublicKey(top); err == nil || !strings.Contains(err.Error(), "not the canonical") {
		t.Errorf("y above p: %v", err)
	}
}
