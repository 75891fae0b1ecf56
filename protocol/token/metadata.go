package token

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// IssuerMetadata is what an issuer tells the scheme operator of itself, in JSON, to be put on the trust list.
type IssuerMetadata struct {
	Name    string        `json:"name"`
	Display string        `json:"display"`
	URL     string        `json:"url"`
	Keys    []KeyMetadata `json:"keys"`
}

// KeyMetadata is one signing key of an issuer.
type KeyMetadata struct {
	Public    string    `json:"public"` // raw Ed25519 key, base64 (RFC 4648 section 4)
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

// MetadataOf returns an issuer's metadata.
func MetadataOf(i Issuer) IssuerMetadata {
	c := IssuerMetadata{Name: i.Name, Display: i.Display, URL: i.URL}
	for _, k := range i.Keys {
		c.Keys = append(c.Keys, KeyMetadata{base64.StdEncoding.EncodeToString(k.Public), k.NotBefore, k.NotAfter})
	}
	return c
}

// ReadMetadata reads an issuer's metadata, JSON without unknown fields or bytes after its end. Keys are whole and end
// after they begin; what else is asked of an issuer is for [SignTrustList] to check.
func ReadMetadata(r io.Reader) (Issuer, error) {
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	var c IssuerMetadata
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
