package token_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/protocol/token"
)

func TestSignedCodeIsAlphanumericAndShort(t *testing.T) {
	alphanumeric := regexp.MustCompile(`^[0-9A-Z $%*+./:-]+$`) // ISO/IEC 18004 alphanumeric mode
	for name, c := range map[string]struct {
		key    ed25519.PrivateKey
		issuer string
		want   int
	}{"shortest": {shortKey, shortIssuer, 227}, "longest": {longKey, longIssuer, 250}} {
		text, err := token.Sign(c.key, c.issuer, issuedAt, testCTI())
		if err != nil {
			t.Fatal(err)
		}
		if !alphanumeric.MatchString(text) || len(text) != c.want {
			t.Errorf("%s: %d characters, want %d: %q", name, len(text), c.want, text)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		key    ed25519.PrivateKey
		issuer string
		iat    time.Time
	}{
		"no key":                   {nil, issuer, issuedAt},
		"a seed for a key":         {ed25519.PrivateKey(issuerKey.Seed()), issuer, issuedAt},
		"no issuer":                {issuerKey, "", issuedAt},
		"an issuer in capitals":    {issuerKey, "Naver", issuedAt},
		"a long issuer":            {issuerKey, longIssuer + "x", issuedAt},
		"no time":                  {issuerKey, issuer, time.Time{}},
		"the first second of 1970": {issuerKey, issuer, time.Unix(0, 999_999_999)},
		"a time after 9999":        {issuerKey, issuer, maxTime.Add(time.Second)},
	} {
		if text, err := token.Sign(c.key, c.issuer, c.iat, testCTI()); err == nil || text != "" {
			t.Errorf("%s: signed (%v)", name, err)
		}
	}
}

func TestTimeOfIssueIsCutToSeconds(t *testing.T) {
	text, err := token.Sign(issuerKey, issuer, issuedAt.Add(time.Second-1), testCTI())
	if err != nil {
		t.Fatal(err)
	}
	if text != validText(t) {
		t.Error("a fraction of a second changes the code")
	}
}

func TestVerifyWithoutParse(t *testing.T) {
	if code, err := (token.Unverified{}).Verify(newRing()); !errors.Is(err, token.ErrNotGenuine) || code != (token.Code{}) {
		t.Errorf("%v, %v", code, err)
	}
}

// TestVerifyAgainstABadKeyring holds that a key of the wrong length is a refusal and no panic.
func TestVerifyAgainstABadKeyring(t *testing.T) {
	for _, n := range []int{0, 31, 33, 64} {
		k := ringKeys()[0]
		kid := token.KeyID(k.Public)
		k.Public = make([]byte, n)
		if _, class, err := judge(validText(t), ring{kid: k}); class != classForged {
			t.Errorf("a key of %d bytes: %s (%v)", n, class, err)
		}
	}
}

func TestUnverifiedDoesNotHoldTheReadersBuffer(t *testing.T) {
	text := []byte(validText(t))
	u, err := token.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	clear(text)
	if _, err := u.Verify(newRing()); err != nil {
		t.Errorf("after the reader used its buffer again: %v", err)
	}
}

// TestOneCharacterOff changes every character of a code to every other of the alphabet: none may stay genuine.
func TestOneCharacterOff(t *testing.T) {
	keys := newRing()
	text := []byte(validText(t))
	for i := range text {
		for _, c := range []byte("0AZ %:") {
			if text[i] == c {
				continue
			}
			bad := bytes.Clone(text)
			bad[i] = c
			if _, class, _ := judge(string(bad), keys); class == classGenuine {
				t.Fatalf("character %d changed to %q, still genuine", i, c)
			}
		}
	}
}

func TestErrorsCarryNothingThatWasRead(t *testing.T) {
	kid := token.KeyID(public(strangerKey)).String()
	for _, c := range allCases() {
		_, _, err := judge(c.text, newRing())
		if err == nil {
			continue
		}
		s := err.Error()
		if strings.Contains(s, kid) {
			t.Errorf("%s: %q shows a key identifier nobody trusts", c.name, s)
		}
		if len(c.text) > 20 && (strings.Contains(s, c.text[10:20]) || strings.Contains(s, hex.EncodeToString([]byte(c.text[10:16])))) {
			t.Errorf("%s: %q shows what was read", c.name, s)
		}
	}
}

// leaks are the ways in which cti bytes have shown up in print: decimal, hexadecimal, octal, quoted, and as numbers.
func leaks(cti token.CTI) map[string]string {
	b := cti[:6]
	return map[string]string{
		"hex": fmt.Sprintf("%x", b), "HEX": fmt.Sprintf("%X", b), "hex with 0x": fmt.Sprintf("%#x", b), "spaced hex": fmt.Sprintf("% x", b),
		"numbers": strings.Trim(fmt.Sprint(b), "[]"), "JSON numbers": strings.ReplaceAll(strings.Trim(fmt.Sprint(b), "[]"), " ", ","),
		"octal": strings.Trim(fmt.Sprintf("%o", b), "[]"), "Go syntax": strings.Trim(fmt.Sprintf("%#v", b), "[]byte{}"), "raw": string(b), "quoted": strings.Trim(fmt.Sprintf("%q", b), `"`),
	}
}

// logged returns v as the text and the JSON handler write it.
func logged(v any) string {
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Info("seen", "value", v, slog.Group("in", "value", v))
	slog.New(slog.NewJSONHandler(&b, nil)).Info("seen", "value", v, slog.Group("in", "value", v))
	return b.String()
}

func TestNothingPrintsACTI(t *testing.T) {
	cti := testCTI()
	code, _, err := judge(validText(t), newRing())
	if err != nil {
		t.Fatal(err)
	}
	u, err := token.Parse([]byte(validText(t)))
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{}
	values := map[string]any{
		"cti": cti, "cti pointer": &cti, "ctis": []token.CTI{cti}, "cti in a map": map[string]token.CTI{"k": cti}, "cti as key": map[token.CTI]int{cti: 1},
		"cti in a struct": struct{ C token.CTI }{cti}, "code": code, "code pointer": &code, "codes": []token.Code{code},
		"unverified": u, "unverified pointer": &u,
	}
	// In unexported fields no method is called; what go vet lets pass for a struct must still show nothing.
	fields := map[string]any{
		"code in a field": struct{ code token.Code }{code}, "code in a pointer's field": &struct{ code *token.Code }{&code},
		"unverified in a field": struct{ u token.Unverified }{u},
	}
	for name, v := range fields {
		for _, verb := range []string{"%v", "%+v", "%#v"} {
			shown[name+" with "+verb] = fmt.Sprintf(verb, v)
		}
		shown[name+" in a log"] = logged(v)
	}
	for name, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#x", "%d", "%o", "%b", "%c", "%U", "%e", "%t", "%08v", "%T"} {
			shown[name+" with "+verb] = fmt.Sprintf(verb, v)
		}
		shown[name+" in a log"] = logged(v)
		if b, err := json.Marshal(v); err == nil {
			shown[name+" in JSON"] = string(b)
		}
	}
	for how, s := range shown {
		for form, leak := range leaks(cti) {
			if strings.Contains(s, leak) {
				t.Errorf("%s shows cti bytes (%s): %s", how, form, s)
			}
		}
	}
	if !strings.Contains(shown["cti with %x"], "redacted") || !strings.Contains(shown["code with %v"], issuer) || !strings.Contains(shown["code in a log"], "issuer="+issuer) {
		t.Error("placeholder or issuer are not shown either")
	}
	if _, err := json.Marshal(cti); err == nil {
		t.Error("a cti turns into JSON: what reads it back would have lost it")
	}
}
