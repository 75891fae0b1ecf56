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

func metadataText(t testing.TB, change func(*IssuerMetadata)) string {
	t.Helper()
	begin := time.Date(2020, 6, 10, 0, 0, 0, 0, time.UTC)
	c := MetadataOf(Issuer{Name: "naver", Display: "네이버", URL: "https://naver.test", Keys: []IssuerKey{{
		Issuer: "naver", Public: make(ed25519.PublicKey, ed25519.PublicKeySize), NotBefore: begin, NotAfter: begin.AddDate(2, 0, 0),
	}}})
	change(&c)
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestMetadataTellsAnIssuerWhole(t *testing.T) {
	good := metadataText(t, func(*IssuerMetadata) {})
	i, err := ReadMetadata(strings.NewReader(good))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := json.Marshal(MetadataOf(i)); err != nil || string(again) != good || i.Keys[0].Issuer != "naver" {
		t.Errorf("read and written again: %s, %v", again, err)
	}
	for rule, text := range map[string]string{
		"no key":              metadataText(t, func(c *IssuerMetadata) { c.Keys = nil }),
		"a short key":         metadataText(t, func(c *IssuerMetadata) { c.Keys[0].Public = c.Keys[0].Public[:40] }),
		"no base64":           metadataText(t, func(c *IssuerMetadata) { c.Keys[0].Public = "?" }),
		"no time":             metadataText(t, func(c *IssuerMetadata) { c.Keys[0].NotAfter = c.Keys[0].NotBefore }),
		"an unknown field":    strings.Replace(good, `"url"`, `"link"`, 1),
		"bytes after its end": good + "{}",
		"half of it":          good[:len(good)/2],
	} {
		if i, err := ReadMetadata(strings.NewReader(text)); err == nil || !reflect.DeepEqual(i, Issuer{}) {
			t.Errorf("%s: %v", rule, err)
		}
	}
}

func FuzzReadMetadata(f *testing.F) {
	f.Add([]byte(metadataText(f, func(*IssuerMetadata) {})))
	f.Add([]byte(`{"keys":[{}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		i, err := ReadMetadata(bytes.NewReader(text))
		if err != nil {
			return
		}
		b, err := json.Marshal(MetadataOf(i))
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ReadMetadata(bytes.NewReader(b)); err != nil || len(again.Keys) != len(i.Keys) {
			t.Fatalf("written again it does not read: %v", err)
		}
	})
}
