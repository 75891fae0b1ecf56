package order

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"

	"github.com/kipass/kipass/protocol/visit"
)

// An issuer must learn neither the place nor the purpose, which is free text and may tell it. So the officers sign a
// salted digest of both; they and the salt travel beside the signatures, and are taken off before an order goes to an
// issuer.

const particularsLabel = "kipass order particulars v1"

type particulars struct {
	facility visit.Facility
	purpose  string
	salt     [16]byte
}

// newParticulars draws the salt for an order's facility and purpose.
func newParticulars(o Order) (particulars, error) {
	p := particulars{facility: o.Facility, purpose: o.Purpose}
	if err := p.check(); err != nil {
		return particulars{}, err
	}
	_, _ = rand.Read(p.salt[:]) // never fails: crypto/rand ends the program instead
	return p, nil
}

func (p particulars) check() error {
	if _, err := visit.ParseFacility(string(p.facility)); err != nil {
		return fmt.Errorf("%w: %v", ErrRefused, err)
	}
	return checkText("purpose", p.purpose, maxPurpose)
}

// digest is SHA-256 of label, salt and the deterministic CBOR of [facility, purpose].
func (p particulars) digest() ([32]byte, error) {
	b, err := encMode.Marshal([]string{string(p.facility), p.purpose})
	if err != nil {
		return [32]byte{}, fmt.Errorf("encoding an order's particulars: %w", err)
	}
	return sha256.Sum256(append(append([]byte(particularsLabel), p.salt[:]...), b...)), nil
}

// complete returns o with its facility and purpose, if they are the ones that were signed.
func (p particulars) complete(o Order, signed [32]byte) (Order, error) {
	got, err := p.digest()
	if err != nil {
		return Order{}, err
	}
	if subtle.ConstantTimeCompare(got[:], signed[:]) != 1 {
		return Order{}, fmt.Errorf("%w: facility %s, or the purpose, is not the one the officers signed for", ErrRefused, p.facility)
	}
	o.Facility, o.Purpose = p.facility, p.purpose
	return o, nil
}

type wireEnvelope struct {
	Signed   []byte `cbor:"1,keyasint"`
	Salt     []byte `cbor:"2,keyasint"`
	Facility string `cbor:"3,keyasint"`
	Purpose  string `cbor:"4,keyasint"`
}

func (p particulars) enclose(signed []byte) ([]byte, error) {
	return encMode.Marshal(wireEnvelope{Signed: signed, Salt: p.salt[:], Facility: string(p.facility), Purpose: p.purpose})
}

func disclose(raw []byte) ([]byte, particulars, error) {
	if len(raw) > MaxOrder {
		return nil, particulars{}, fmt.Errorf("%w: %d bytes, at most %d are read", ErrMalformed, len(raw), MaxOrder)
	}
	var w wireEnvelope
	if err := decMode.Unmarshal(raw, &w); err != nil {
		return nil, particulars{}, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	p := particulars{facility: visit.Facility(w.Facility), purpose: w.Purpose}
	if err := p.check(); err != nil {
		return nil, particulars{}, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	if len(w.Salt) != len(p.salt) {
		return nil, particulars{}, fmt.Errorf("%w: salt of %d bytes, must be %d", ErrMalformed, len(w.Salt), len(p.salt))
	}
	p.salt = [16]byte(w.Salt)
	again, err := p.enclose(w.Signed)
	if err != nil || !bytes.Equal(again, raw) {
		return nil, particulars{}, fmt.Errorf("%w: not deterministically encoded", ErrMalformed)
	}
	return w.Signed, p, nil
}

// ForIssuer returns an approved order as it goes to an issuer: the signatures still hold, but neither the facility nor the
// purpose can be told from it.
func ForIssuer(approved []byte) ([]byte, error) {
	signed, _, err := disclose(approved)
	if err != nil {
		return nil, err
	}
	if _, err := parse1(signed, contentApproval); err != nil {
		return nil, err
	}
	return signed, nil
}
