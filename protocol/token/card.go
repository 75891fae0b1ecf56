package token

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Card is the JSON form in which an issuer tells the scheme operator of itself, to be put on the trust list.
type Card struct {
	Name    string    `json:"name"`
	Display string    `json:"display"`
	URL     string    `json:"url"`
	Keys    []CardKey `json:"keys"`
}

// CardKey is one signing key of a card.
type CardKey struct {
	Public    string    `json:"public"` // raw Ed25519 key, base64 (RFC 4648 section 4)
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

// CardOf returns an issuer's card.
func CardOf(i Issuer) Card {
	c := Card{Name: i.Name, Display: i.Display, URL: i.URL}
	for _, k := range i.Keys {
		c.Keys = append(c.Keys, CardKey{base64.StdEncoding.EncodeToString(k.Public), k.NotBefore, k.NotAfter})
	}
	return c
}

// ReadCard reads a card in JSON, without unknown fields or bytes after its end. Keys are whole and end after they begin;
// what else is asked of an issuer is for [SignTrustList] to check.
func ReadCard(r io.Reader) (Issuer, error) {
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	var c Card
	if err := dec.Decode(&c); err != nil {
		return Issuer{}, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return Issuer{}, fmt.Errorf("issuer %q: bytes after its end", c.Name)
	}
	if len(c.Keys) == 0 {
		return Issuer{}, fmt.Errorf("issuer %q has no key", c.Name)
	}
	i := Issuer{Name: c.Name, Display: c.Display, URL: c.URL}
	for _, k := range c.Keys {
		pub, err := base64.StdEncoding.Strict().DecodeString(k.Public)
		if err != nil || len(pub) != ed25519.PublicKeySize {
			return Issuer{}, fmt.Errorf("issuer %q: a key is not 32 bytes of base64", c.Name)
		}
		if !k.NotAfter.After(k.NotBefore) {
			return Issuer{}, fmt.Errorf("issuer %q: a key ends before it begins", c.Name)
		}
		i.Keys = append(i.Keys, IssuerKey{Issuer: c.Name, Public: pub, NotBefore: k.NotBefore, NotAfter: k.NotAfter})
	}
	return i, nil
}
