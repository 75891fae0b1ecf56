package order

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/veraison/go-cose"
)

// The content types in the protected headers (RFC 9052 section 3.1, label 3) keep a signature under an order from being
// taken for an approval, and both from being taken for anything else signed with Ed25519.
const (
	contentOrder    = "application/vnd.kipass.order+cbor"
	contentApproval = "application/vnd.kipass.signed-order+cose"
)

// Sign returns o signed by the officer it names: a tagged COSE_Sign1 (RFC 9052 section 4.2), EdDSA, and the place
// beside it.
func Sign(key ed25519.PrivateKey, o Order) ([]byte, error) {
	p, err := newPlace(o.Facility)
	if err != nil {
		return nil, err
	}
	return signAt(key, o, p)
}

// signAt is Sign with a given salt.
func signAt(key ed25519.PrivateKey, o Order, p place) ([]byte, error) {
	payload, err := o.marshal(p.digest())
	if err != nil {
		return nil, err
	}
	signed, err := sign1(key, contentOrder, payload)
	if err != nil {
		return nil, err
	}
	return p.enclose(signed)
}

// Approve returns the approved order: a second COSE_Sign1 whose payload is the first, byte for byte. It refuses the key
// that signed the order. The caller has shown the approving officer what [ReadSigned] returned.
func Approve(key ed25519.PrivateKey, signed []byte) ([]byte, error) {
	inner, p, err := disclose(signed)
	if err != nil {
		return nil, err
	}
	msg, err := parse1(inner, contentOrder)
	if err != nil {
		return nil, err
	}
	pub, ok := key.Public().(ed25519.PublicKey)
	if !ok || len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("approving key of %d bytes, must be %d", len(key), ed25519.PrivateKeySize)
	}
	if KeyIDOf(pub) == msg.kid {
		return nil, fmt.Errorf("%w: an order must be approved by another officer than the one who signed it", ErrRefused)
	}
	approval, err := sign1(key, contentApproval, inner)
	if err != nil {
		return nil, err
	}
	return p.enclose(approval)
}

// ReadSigned checks a signed order that awaits approval.
func ReadSigned(signed []byte, officers Officers, now time.Time) (Order, error) {
	inner, p, err := disclose(signed)
	if err != nil {
		return Order{}, err
	}
	o, digest, err := readInner(inner, officers, now)
	if err != nil {
		return Order{}, err
	}
	return p.complete(o, digest)
}

// Approved is an order that holds, and who approved it.
type Approved struct {
	Order
	Approver string
}

// Verify checks an approved order with its place at now, as the visit server is given it: two good signatures by two
// different officers of the register, the inner one by the officer the order names, every limit, the place, and the
// expiry. The error wraps [ErrMalformed] or [ErrRefused].
func Verify(raw []byte, officers Officers, now time.Time) (Approved, error) {
	approval, p, err := disclose(raw)
	if err != nil {
		return Approved{}, err
	}
	a, digest, err := verify(approval, officers, now)
	if err != nil {
		return Approved{}, err
	}
	if a.Order, err = p.complete(a.Order, digest); err != nil {
		return Approved{}, err
	}
	return a, nil
}

// VerifyWithoutPlace checks what [WithoutPlace] returned, as an issuer is given it; Facility is empty.
func VerifyWithoutPlace(raw []byte, officers Officers, now time.Time) (Approved, error) {
	a, _, err := verify(raw, officers, now)
	return a, err
}

func verify(raw []byte, officers Officers, now time.Time) (Approved, [32]byte, error) {
	outer, err := parse1(raw, contentApproval)
	if err != nil {
		return Approved{}, [32]byte{}, err
	}
	approver, err := outer.verify(officers)
	if err != nil {
		return Approved{}, [32]byte{}, fmt.Errorf("approval: %w", err)
	}
	o, digest, err := readInner(outer.sign1.Payload, officers, now)
	if err != nil {
		return Approved{}, [32]byte{}, err
	}
	if o.Officer == approver.Name {
		return Approved{}, [32]byte{}, fmt.Errorf("%w: officer %s approved their own order", ErrRefused, o.Officer)
	}
	return Approved{Order: o, Approver: approver.Name}, digest, nil
}

func readInner(signed []byte, officers Officers, now time.Time) (Order, [32]byte, error) {
	msg, err := parse1(signed, contentOrder)
	if err != nil {
		return Order{}, [32]byte{}, err
	}
	officer, err := msg.verify(officers)
	if err != nil {
		return Order{}, [32]byte{}, err
	}
	o, digest, err := unmarshal(msg.sign1.Payload)
	if err != nil {
		return Order{}, [32]byte{}, err
	}
	switch {
	case o.Officer != officer.Name:
		err = fmt.Errorf("%w: it names officer %s but is signed by %s", ErrRefused, o.Officer, officer.Name)
	case now.After(o.Expires):
		err = fmt.Errorf("%w: order %v expired at %v", ErrRefused, o.ID, o.Expires.Format(time.RFC3339))
	case now.Before(o.IssuedAt.Add(-MaxAhead)):
		err = fmt.Errorf("%w: order %v is dated %v, in the future", ErrRefused, o.ID, o.IssuedAt.Format(time.RFC3339))
	}
	if err != nil {
		return Order{}, [32]byte{}, err
	}
	return o, digest, nil
}

type message struct {
	kid   KeyID
	sign1 *cose.Sign1Message
}

// parse1 reads one layer without trusting it: exactly our protected header, no unprotected one.
func parse1(raw []byte, content string) (message, error) {
	if len(raw) > MaxOrder {
		return message{}, fmt.Errorf("%w: %d bytes, at most %d are read", ErrMalformed, len(raw), MaxOrder)
	}
	m := cose.NewSign1Message()
	if err := m.UnmarshalCBOR(raw); err != nil {
		return message{}, fmt.Errorf("%w: not a tagged COSE_Sign1", ErrMalformed)
	}
	kid, ok := m.Headers.Protected[cose.HeaderLabelKeyID].([]byte)
	if !ok || len(kid) != len(KeyID{}) {
		return message{}, fmt.Errorf("%w: no key identifier of 8 bytes in the protected header", ErrMalformed)
	}
	want, err := protected(KeyID(kid), content)
	if err != nil {
		return message{}, err
	}
	if !bytes.Equal(m.Headers.RawProtected, want) || !bytes.Equal(m.Headers.RawUnprotected, []byte{0xa0}) {
		return message{}, fmt.Errorf("%w: the header is not that of %s", ErrMalformed, content)
	}
	again, err := m.MarshalCBOR()
	if err != nil || !bytes.Equal(again, raw) {
		return message{}, fmt.Errorf("%w: not deterministically encoded", ErrMalformed)
	}
	return message{kid: KeyID(kid), sign1: m}, nil
}

func (m message) verify(officers Officers) (Officer, error) {
	officer, ok := officers.ByKey(m.kid)
	if !ok {
		return Officer{}, fmt.Errorf("%w: key %v belongs to no officer in the register", ErrRefused, m.kid)
	}
	v, err := cose.NewVerifier(cose.AlgorithmEdDSA, officer.Public)
	if err != nil {
		return Officer{}, fmt.Errorf("%w: key %v of officer %s: %v", ErrRefused, m.kid, officer.Name, err)
	}
	if err := m.sign1.Verify(nil, v); err != nil {
		return Officer{}, fmt.Errorf("%w: signature does not match key %v of officer %s", ErrRefused, m.kid, officer.Name)
	}
	return officer, nil
}

func sign1(key ed25519.PrivateKey, content string, payload []byte) ([]byte, error) {
	pub, ok := key.Public().(ed25519.PublicKey)
	if !ok || len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("signing key of %d bytes, must be %d", len(key), ed25519.PrivateKeySize)
	}
	signer, err := cose.NewSigner(cose.AlgorithmEdDSA, key)
	if err != nil {
		return nil, fmt.Errorf("signing order: %w", err)
	}
	kid := KeyIDOf(pub)
	m := cose.NewSign1Message()
	m.Payload = payload
	if m.Headers.RawProtected, err = protected(kid, content); err != nil {
		return nil, err
	}
	m.Headers.Protected = cose.ProtectedHeader{
		cose.HeaderLabelAlgorithm:   cose.AlgorithmEdDSA,
		cose.HeaderLabelContentType: content,
		cose.HeaderLabelKeyID:       kid[:],
	}
	if err := m.Sign(nil, nil, signer); err != nil {
		return nil, fmt.Errorf("signing order: %w", err)
	}
	return m.MarshalCBOR()
}

// protected returns the one protected header allowed, as the byte string that stands in the message.
func protected(kid KeyID, content string) ([]byte, error) {
	h, err := encMode.Marshal(struct {
		Alg     int    `cbor:"1,keyasint"`
		Content string `cbor:"3,keyasint"`
		KID     []byte `cbor:"4,keyasint"`
	}{-8, content, kid[:]})
	if err != nil {
		return nil, fmt.Errorf("encoding protected header: %w", err)
	}
	return encMode.Marshal(h)
}
