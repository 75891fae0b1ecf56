package token_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/veraison/go-cose"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/publickey"
	"github.com/kipass/kipass/protocol/token"
)

// TestBase45OfRFC9285 runs the examples of RFC 9285 sections 4.3 and 4.4 and the bounds its section 6 names.
func TestBase45OfRFC9285(t *testing.T) {
	for _, v := range []struct{ plain, encoded string }{
		{"AB", "BB8"}, {"Hello!!", "%69 VD92EX0"}, {"base-45", "UJCLQE7W581"}, {"ietf!", "QED8WEX0"},
		{"", ""}, {"\xff\xff", "FGW"}, {"\xff", "U5"}, {"\x00\x00", "000"}, {"\x00", "00"},
	} {
		if got := string(token.EncodeBase45(nil, []byte(v.plain))); got != v.encoded {
			t.Errorf("%q is encoded as %q, want %q", v.plain, got, v.encoded)
		}
		if got, err := token.DecodeBase45(nil, []byte(v.encoded)); err != nil || string(got) != v.plain {
			t.Errorf("%q is decoded to %q (%v), want %q", v.encoded, got, err, v.plain)
		}
	}
	for bad, reason := range map[string]string{
		"GGW": "larger", ":::": "larger", "BB8GGW": "larger", "V5": "larger", "::": "larger", "BB8V5": "larger",
		"B": "one character over", "BB8B": "one character over",
		"bb8": "outside", "BB\n": "outside", "B=8": "outside", "\x80B8": "outside", "B\xff": "outside", "BB8,0": "outside",
	} {
		if got, err := token.DecodeBase45(nil, []byte(bad)); err == nil || got != nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q is decoded to %q (%v), want a refusal with %q", bad, got, err, reason)
		}
	}
}

type coseExample struct {
	Input struct {
		Plaintext string `json:"plaintext"`
		Sign      struct {
			Key struct {
				Curve  string `json:"crv"`
				Public string `json:"x_hex"`
				Seed   string `json:"d_hex"`
			} `json:"key"`
		} `json:"sign0"`
	} `json:"input"`
	Intermediates struct {
		ToBeSigned string `json:"ToBeSign_hex"`
	} `json:"intermediates"`
	Output struct {
		CBOR string `json:"cbor"`
	} `json:"output"`
}

func readCOSEExample(t *testing.T, name string) (e coseExample, raw []byte) {
	t.Helper()
	b, err := os.ReadFile("testdata/cose-wg/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &e); err != nil {
		t.Fatal(err)
	}
	return e, testkit.Unhex(t, e.Output.CBOR)
}

// TestCOSEWorkingGroupEd25519 checks the library and the way it is used here against the working group's own message.
func TestCOSEWorkingGroupEd25519(t *testing.T) {
	e, raw := readCOSEExample(t, "eddsa-sig-01.json")
	key := ed25519.NewKeyFromSeed(testkit.Unhex(t, e.Input.Sign.Key.Seed))
	if !public(key).Equal(ed25519.PublicKey(testkit.Unhex(t, e.Input.Sign.Key.Public))) {
		t.Fatal("the example's public key is not that of its private key")
	}
	if err := publickey.Check(public(key)); err != nil {
		t.Errorf("the example's key: %v", err)
	}
	msg := cose.NewSign1Message()
	if err := msg.UnmarshalCBOR(raw); err != nil {
		t.Fatal(err)
	}
	if string(msg.Payload) != e.Input.Plaintext {
		t.Errorf("payload %q, want %q", msg.Payload, e.Input.Plaintext)
	}
	if !token.VerifySign1(msg, public(key)) {
		t.Error("the signature is refused")
	}
	if token.VerifySign1(msg, public(strangerKey)) {
		t.Error("the signature is accepted for another key")
	}
	if want := ed25519.Sign(key, testkit.Unhex(t, e.Intermediates.ToBeSigned)); !bytes.Equal(want, msg.Signature) {
		t.Error("the signature is not that of the example's Sig_structure")
	}
	f := form{
		open: []byte{0xd2, 0x84}, protected: msg.Headers.RawProtected[1:], context: "Signature1",
		unprotected: msg.Headers.RawUnprotected, payload: msg.Payload,
	}
	if !bytes.Equal(f.sign(key), raw) {
		t.Error("the forging of these tests does not make the example's bytes, so it tests something else than COSE")
	}
	for i := range raw {
		if i >= 8 && i <= 12 {
			continue // the unprotected header is not signed
		}
		bad := bytes.Clone(raw)
		bad[i] ^= 0x04
		m := cose.NewSign1Message()
		if m.UnmarshalCBOR(bad) == nil && token.VerifySign1(m, public(key)) {
			t.Errorf("byte %d changed, yet the message verifies", i)
		}
	}
	if _, err := token.Parse([]byte(textOf(raw))); err == nil || !strings.Contains(err.Error(), "exactly EdDSA and a key identifier") {
		t.Errorf("a good COSE_Sign1 with another header is taken for a code: %v", err)
	}
}

// TestCOSEWorkingGroupEd448 holds that EdDSA means Ed25519 here.
func TestCOSEWorkingGroupEd448(t *testing.T) {
	e, raw := readCOSEExample(t, "eddsa-sig-02.json")
	msg := cose.NewSign1Message()
	if err := msg.UnmarshalCBOR(raw); err != nil {
		t.Fatal(err)
	}
	pub := testkit.Unhex(t, e.Input.Sign.Key.Public)
	if e.Input.Sign.Key.Curve != "Ed448" || token.VerifySign1(msg, pub) || token.VerifySign1(msg, pub[:32]) {
		t.Error("a signature over Ed448 is accepted")
	}
	if _, err := token.Parse([]byte(textOf(raw))); err == nil {
		t.Error("a message over Ed448 is taken for a code")
	}
}
