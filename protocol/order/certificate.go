package order

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/kipass/kipass/protocol/publickey"
)

// Two officers must not be able to choose who gets names: an order names the one key to which answers are encrypted, and
// the authority's root certifies that key for that order, after its audit log has the order. A certificate is a CBOR Web
// Token (RFC 8392) in a COSE_Sign1 by the root, which every side that is asked has pinned.

const (
	contentRecipient = "application/vnd.kipass.recipient+cwt"
	useAnswer        = "order-answer" // what a certified key is for

	maxCertificate = 1 << 10 // bytes
)

// ErrRecipient is wrapped, beside [ErrRefused], by errors about an order whose recipient the authority did not certify.
var ErrRecipient = errors.New("the recipient of its answers is not certified")

// Certification is what the authority says of a recipient.
type Certification struct {
	Authority string   // name of who certifies, for people: 1 to 64 bytes
	Recipient string   // age X25519 recipient, "age1…"
	Digest    [32]byte // of the order it is for, see [Draft.Digest]
	Entry     uint64   // number of the entry in the authority's audit log that tells of the order
	NotBefore time.Time
	NotAfter  time.Time // inclusive
}

// Certificate is a certification that holds, as an order carries it. Only this package makes one.
type Certificate struct {
	Certification
	Root KeyID  // of the key that signed it
	raw  string // the COSE_Sign1
}

// Fingerprint returns what two people compare to see that they mean the same key: the first 10 bytes of SHA-256 of the
// recipient's text, in five groups of hexadecimal digits.
func (c Certification) Fingerprint() string {
	h := sha256.Sum256([]byte(c.Recipient))
	var groups []string
	for i := 0; i < 10; i += 2 {
		groups = append(groups, hex.EncodeToString(h[i:i+2]))
	}
	return strings.Join(groups, " ")
}

// wireCertificate has claims of RFC 8392 section 3.1 and, below −65536, of our own.
type wireCertificate struct {
	Issuer    string `cbor:"1,keyasint"` // Authority
	Subject   string `cbor:"2,keyasint"` // Recipient
	Expires   int64  `cbor:"4,keyasint"` // seconds since 1970
	NotBefore int64  `cbor:"5,keyasint"`
	Use       string `cbor:"-65537,keyasint"`
	Order     []byte `cbor:"-65538,keyasint"` // Digest
	Entry     uint64 `cbor:"-65539,keyasint"`
}

// certify signs a certification with the authority's root key.
func certify(root ed25519.PrivateKey, c Certification) (Certificate, error) {
	if err := c.check(); err != nil {
		return Certificate{}, err
	}
	payload, err := encMode.Marshal(wireCertificate{
		Issuer: c.Authority, Subject: c.Recipient, NotBefore: c.NotBefore.Unix(), Expires: c.NotAfter.Unix(),
		Use: useAnswer, Order: c.Digest[:], Entry: c.Entry,
	})
	if err != nil {
		return Certificate{}, fmt.Errorf("encoding a certificate: %w", err)
	}
	raw, err := sign1(root, contentRecipient, payload)
	if err != nil {
		return Certificate{}, err
	}
	return readCertificate(raw)
}

// readCertificate reads a certificate without trusting it.
func readCertificate(raw []byte) (Certificate, error) {
	if len(raw) > maxCertificate {
		return Certificate{}, fmt.Errorf("certificate of %d bytes, at most %d are read", len(raw), maxCertificate)
	}
	m, err := parse1(raw, contentRecipient)
	if err != nil {
		return Certificate{}, err
	}
	var w wireCertificate
	if err := decMode.Unmarshal(m.sign1.Payload, &w); err != nil {
		return Certificate{}, err
	}
	if again, err := encMode.Marshal(w); err != nil || !bytes.Equal(again, m.sign1.Payload) {
		return Certificate{}, fmt.Errorf("%w: certificate is not deterministically encoded", ErrMalformed)
	}
	if w.Use != useAnswer || len(w.Order) != len(Certification{}.Digest) {
		return Certificate{}, fmt.Errorf("certificate is not for the answers to an order")
	}
	c := Certification{
		Authority: w.Issuer, Recipient: w.Subject, Digest: [32]byte(w.Order), Entry: w.Entry,
		NotBefore: time.Unix(w.NotBefore, 0).UTC(), NotAfter: time.Unix(w.Expires, 0).UTC(),
	}
	if err := c.check(); err != nil {
		return Certificate{}, err
	}
	return Certificate{Certification: c, Root: m.kid, raw: string(raw)}, nil
}

// check holds the rules that certifying and reading share.
func (c Certification) check() error {
	if err := CheckAuthority(c.Authority); err != nil {
		return err
	}
	if _, err := parseRecipient(c.Recipient); err != nil {
		return err
	}
	from, until := c.NotBefore.Unix(), c.NotAfter.Unix()
	if from < 0 || until > maxTime || until <= from || until-from > int64(MaxValidity/time.Second) {
		return fmt.Errorf("%w: a certificate holds for more than nothing and at most %v", ErrRefused, MaxValidity)
	}
	return nil
}

// CheckAuthority refuses what cannot be the name of an authority in a certificate.
func CheckAuthority(name string) error { return checkText("the authority's name", name, maxName) }

// parseRecipient reads an age X25519 recipient to which something can be encrypted: there are points to which nothing can
// (RFC 7748 section 6.1).
func parseRecipient(text string) (*age.X25519Recipient, error) {
	r, err := age.ParseX25519Recipient(text)
	if err == nil {
		_, err = r.Wrap(make([]byte, 16))
	}
	if err != nil {
		return nil, fmt.Errorf("%w: recipient is not an age X25519 recipient (age1…)", ErrRefused)
	}
	return r, nil
}

// verifyCertificate returns the certificate in raw if root signed it for the order with that digest and it holds at now.
func verifyCertificate(raw []byte, root ed25519.PublicKey, digest [32]byte, now time.Time) (Certificate, error) {
	if root == nil {
		return Certificate{}, errors.New("no authority's root is set here, so nobody can be certified")
	}
	if err := publickey.Check(root); err != nil {
		return Certificate{}, fmt.Errorf("authority's root set here: %w", err)
	}
	c, err := readCertificate(raw)
	if err != nil {
		return Certificate{}, err
	}
	m, err := parse1(raw, contentRecipient)
	if err != nil {
		return Certificate{}, err
	}
	if want := KeyIDOf(root); c.Root != want {
		return Certificate{}, fmt.Errorf("key %v certified it, the authority's root set here is %v", c.Root, want)
	}
	if err := m.verify(root); err != nil {
		return Certificate{}, fmt.Errorf("the signature of its certificate does not match the authority's root %v", c.Root)
	}
	switch {
	case c.Digest != digest:
		return Certificate{}, errors.New("its certificate is for another order")
	case now.After(c.NotAfter):
		return Certificate{}, fmt.Errorf("its certificate expired at %v", c.NotAfter.Format(time.RFC3339))
	case now.Before(c.NotBefore.Add(-MaxAhead)):
		return Certificate{}, fmt.Errorf("its certificate holds only from %v on", c.NotBefore.Format(time.RFC3339))
	}
	return c, nil
}
