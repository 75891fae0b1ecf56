package order

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"

	"github.com/kipass/kipass/protocol/visit"
)

// An issuer must never learn a place. So the officers sign a salted digest of the facility's name; the name and the salt
// travel beside the signatures, and are taken off before an order goes to an issuer.

const placeLabel = "kipass order place v1"

type place struct {
	facility visit.Facility
	salt     [16]byte
}

func newPlace(f visit.Facility) (place, error) {
	if _, err := visit.ParseFacility(string(f)); err != nil {
		return place{}, fmt.Errorf("%w: %v", ErrRefused, err)
	}
	p := place{facility: f}
	_, _ = rand.Read(p.salt[:]) // never fails: crypto/rand ends the program instead
	return p, nil
}

func (p place) digest() [32]byte {
	b := append([]byte(placeLabel), p.salt[:]...)
	return sha256.Sum256(append(b, p.facility...))
}

// complete returns o with its place, if it is the one that was signed.
func (p place) complete(o Order, digest [32]byte) (Order, error) {
	got := p.digest()
	if subtle.ConstantTimeCompare(got[:], digest[:]) != 1 {
		return Order{}, fmt.Errorf("%w: facility %s is not the one the officers signed for", ErrRefused, p.facility)
	}
	o.Facility = p.facility
	return o, nil
}

type wireEnvelope struct {
	Signed   []byte `cbor:"1,keyasint"`
	Salt     []byte `cbor:"2,keyasint"`
	Facility string `cbor:"3,keyasint"`
}

func (p place) enclose(signed []byte) ([]byte, error) {
	return encMode.Marshal(wireEnvelope{Signed: signed, Salt: p.salt[:], Facility: string(p.facility)})
}

func disclose(raw []byte) ([]byte, place, error) {
	if len(raw) > MaxOrder {
		return nil, place{}, fmt.Errorf("%w: %d bytes, at most %d are read", ErrMalformed, len(raw), MaxOrder)
	}
	var w wireEnvelope
	if err := decMode.Unmarshal(raw, &w); err != nil {
		return nil, place{}, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	f, err := visit.ParseFacility(w.Facility)
	if err != nil {
		return nil, place{}, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	if len(w.Salt) != len(place{}.salt) {
		return nil, place{}, fmt.Errorf("%w: salt of %d bytes, must be %d", ErrMalformed, len(w.Salt), len(place{}.salt))
	}
	p := place{facility: f, salt: [16]byte(w.Salt)}
	again, err := p.enclose(w.Signed)
	if err != nil || !bytes.Equal(again, raw) {
		return nil, place{}, fmt.Errorf("%w: not deterministically encoded", ErrMalformed)
	}
	return w.Signed, p, nil
}

// WithoutPlace returns an approved order as it goes to an issuer: the two signatures still hold, but the facility
// cannot be told from it.
func WithoutPlace(approved []byte) ([]byte, error) {
	signed, _, err := disclose(approved)
	if err != nil {
		return nil, err
	}
	if _, err := parse1(signed, contentApproval); err != nil {
		return nil, err
	}
	return signed, nil
}
