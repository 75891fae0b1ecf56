package order

import (
	"crypto/ed25519"
	"errors"
)

// Draft is an order that nobody has signed yet.
type Draft struct {
	order       Order
	particulars particulars
	wire        wireOrder
	digest      [32]byte
}

// NewDraft checks an order and draws the salt that hides its facility and purpose from issuers. The order's Recipient is
// not looked at: see [Draft.Certify].
func NewDraft(o Order) (Draft, error) {
	p, err := newParticulars(o)
	if err != nil {
		return Draft{}, err
	}
	return draft(o, p)
}

func draft(o Order, p particulars) (Draft, error) {
	hidden, err := p.digest()
	if err != nil {
		return Draft{}, err
	}
	w, err := o.wire(hidden)
	if err != nil {
		return Draft{}, err
	}
	digest, err := w.digest()
	if err != nil {
		return Draft{}, err
	}
	return Draft{order: o, particulars: p, wire: w, digest: digest}, nil
}

// Digest is what a certificate binds a recipient to: SHA-256 over all of the order but the certificate.
func (d Draft) Digest() [32]byte { return d.digest }

// Certify certifies a recipient for this order alone, with the authority's root key. The caller has logged the order, as
// the entry that c names. Digest is set here; times that are zero become those of the order.
func (d Draft) Certify(root ed25519.PrivateKey, c Certification) (Certificate, error) {
	c.Digest = d.digest
	if c.NotBefore.IsZero() {
		c.NotBefore = d.order.IssuedAt
	}
	if c.NotAfter.IsZero() {
		c.NotAfter = d.order.Expires
	}
	return certify(root, c)
}

// Sign returns the order, with its certified recipient, signed by the officer it names: a tagged COSE_Sign1 (RFC 9052
// section 4.2), EdDSA, and its particulars beside it.
func (d Draft) Sign(officer ed25519.PrivateKey, c Certificate) ([]byte, error) {
	if c.raw == "" || c.Digest != d.digest {
		return nil, errors.New("signing order: the certificate is for another order")
	}
	w := d.wire
	w.Certificate = []byte(c.raw)
	payload, err := encMode.Marshal(w)
	if err != nil {
		return nil, err
	}
	signed, err := sign1(officer, contentOrder, payload)
	if err != nil {
		return nil, err
	}
	return d.particulars.enclose(signed)
}
