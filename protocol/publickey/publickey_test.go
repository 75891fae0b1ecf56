package publickey_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/publickey"
)

func testKey(n int) ed25519.PrivateKey {
	seed := sha256.Sum256(fmt.Append(nil, "key ", n))
	return ed25519.NewKeyFromSeed(seed[:])
}

func TestKeysThatNobodyOwnsAreRefused(t *testing.T) {
	for what, key := range testkit.BadKeys(t) {
		err := publickey.Check(key)
		if err == nil {
			t.Errorf("%s: %x is taken for a key", what, key)
			continue
		}
		if says := map[bool]string{true: "small order", false: "not the canonical"}; strings.HasPrefix(what, "order") &&
			!strings.Contains(err.Error(), says[!strings.Contains(what, "not canonical")]) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, n := range []int{0, 31, 33} {
		if err := publickey.Check(make([]byte, n)); err == nil || !strings.Contains(err.Error(), "not 32 bytes") {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestSmallOrderKeysWouldSignForAnybody shows why: without any private key, S = 0 and a small-order R verify for some message.
func TestSmallOrderKeysWouldSignForAnybody(t *testing.T) {
	bad := testkit.BadKeys(t)
	for _, what := range []string{"order 1", "order 2", "order 4", "order 8", "order 8, the other"} {
		pub, forged := ed25519.PublicKey(bad[what+", sign 0"]), make([]byte, ed25519.SignatureSize)
		copy(forged, bad["order 1, sign 0"])
		found := false
		for i := 0; i < 256 && !found; i++ {
			found = ed25519.Verify(pub, fmt.Append(nil, i), forged)
		}
		if !found {
			t.Errorf("%s: no forgery found; is the point of small order?", what)
		}
	}
}

func TestKeysOfTheCurve(t *testing.T) {
	points := 0
	for i := range 200 {
		key := testKey(i)
		if err := publickey.Check(key.Public().(ed25519.PublicKey)); err != nil {
			t.Errorf("key %d: %v", i, err)
		}
		// Any 32 bytes name a point in about half of the cases; crypto/ed25519 cannot be asked, but the count can be.
		if publickey.Check(ed25519.PublicKey(key.Seed())) == nil {
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
		if err := publickey.Check(testkit.Unhex(t, s)); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestParseReadsEveryUsualForm(t *testing.T) {
	// A key whose base64 differs between the alphabets.
	var pub ed25519.PublicKey
	for n := 0; !strings.ContainsAny(base64.StdEncoding.EncodeToString(pub), "+/"); n++ {
		pub = testKey(n).Public().(ed25519.PublicKey)
	}
	for what, text := range map[string]string{
		"hexadecimal": hex.EncodeToString(pub), "capitals": strings.ToUpper(hex.EncodeToString(pub)),
		"base64": base64.StdEncoding.EncodeToString(pub), "base64url": base64.URLEncoding.EncodeToString(pub),
		"base64 unpadded": base64.RawStdEncoding.EncodeToString(pub), "base64url unpadded": base64.RawURLEncoding.EncodeToString(pub),
		"spaces around": " " + hex.EncodeToString(pub) + "\n",
	} {
		if got, err := publickey.Parse(text); err != nil || !bytes.Equal(got, pub) {
			t.Errorf("%s: %x, %v", what, []byte(got), err)
		}
	}
	for _, text := range []string{"", "key", hex.EncodeToString(pub)[:62], hex.EncodeToString(pub) + "00", base64.StdEncoding.EncodeToString(pub[:31])} {
		if _, err := publickey.Parse(text); err == nil || !strings.Contains(err.Error(), "64 hex digits") {
			t.Errorf("%q: %v", text, err)
		}
	}
	for what, key := range testkit.BadKeys(t) {
		if _, err := publickey.Parse(hex.EncodeToString(key)); err == nil {
			t.Errorf("%s is read", what)
		}
	}
}
