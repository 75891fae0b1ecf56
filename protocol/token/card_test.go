package token

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

func cardText(t testing.TB, change func(*Card)) string {
	t.Helper()
	begin := time.Date(2020, 6, 10, 0, 0, 0, 0, time.UTC)
	c := CardOf(Issuer{Name: "naver", Display: "네이버", URL: "https://naver.test", Keys: []IssuerKey{{
		Issuer: "naver", Public: make(ed25519.PublicKey, ed25519.PublicKeySize), NotBefore: begin, NotAfter: begin.AddDate(2, 0, 0),
	}}})
	change(&c)
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestACardTellsAnIssuerWhole(t *testing.T) {
	good := cardText(t, func(*Card) {})
	i, err := ReadCard(strings.NewReader(good))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := json.Marshal(CardOf(i)); err != nil || string(again) != good || i.Keys[0].Issuer != "naver" {
		t.Errorf("read and written again: %s, %v", again, err)
	}
	for rule, text := range map[string]string{
		"no key":              cardText(t, func(c *Card) { c.Keys = nil }),
		"a short key":         cardText(t, func(c *Card) { c.Keys[0].Public = c.Keys[0].Public[:40] }),
		"no base64":           cardText(t, func(c *Card) { c.Keys[0].Public = "?" }),
		"no time":             cardText(t, func(c *Card) { c.Keys[0].NotAfter = c.Keys[0].NotBefore }),
		"an unknown field":    strings.Replace(good, `"url"`, `"link"`, 1),
		"bytes after its end": good + "{}",
		"half of it":          good[:len(good)/2],
	} {
		if i, err := ReadCard(strings.NewReader(text)); err == nil || !reflect.DeepEqual(i, Issuer{}) {
			t.Errorf("%s: %v", rule, err)
		}
	}
}

func FuzzReadCard(f *testing.F) {
	f.Add([]byte(cardText(f, func(*Card) {})))
	f.Add([]byte(`{"keys":[{}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		i, err := ReadCard(bytes.NewReader(text))
		if err != nil {
			return
		}
		b, err := json.Marshal(CardOf(i))
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ReadCard(bytes.NewReader(b)); err != nil || len(again.Keys) != len(i.Keys) {
			t.Fatalf("written again it does not read: %v", err)
		}
	})
}
