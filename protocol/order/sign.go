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

// Trusted is what a side that checks orders has been told by its operator.
type Trusted struct {
	Officers Officers
	Root     ed25519.PublicKey // of the authority, which certifies recipients; nil certifies nobody
}

// ReadSigned checks a signed order that awaits approval.
func ReadSigned(signed []byte, trusted Trusted, now time.Time) (Order, error) {
	inner, p, err := disclose(signed)
	if err != nil {
		return Order{}, err
	}
	o, w, err := readInner(inner, trusted.Officers, now)
	if err != nil {
		return Order{}, err
	}
	if o, err = p.complete(o, [32]byte(w.Particulars)); err != nil {
		return Order{}, err
	}
	a, err := trusted.certified(Approved{Order: o}, w, now)
	return a.Order, err
}

// Approved is an order that holds, and who approved it.
type Approved struct {
	Order
	Approver string
}

// RecipientError says that two officers of the register signed and approved an order, and that it is refused because the
// authority did not certify its recipient. It wraps [ErrRefused] and [ErrRecipient].
type RecipientError struct {
	Order  Approved // without a recipient; the approver is missing where an order awaits approval
	Reason error
}

func (e *RecipientError) Error() string {
	return fmt.Sprintf("%v: %v: %v", ErrRefused, ErrRecipient, e.Reason)
}

func (e *RecipientError) Unwrap() []error { return []error{ErrRefused, ErrRecipient, e.Reason} }

// Verify checks an approved order with its particulars at now, as the visit server is given it: two good signatures by two
// different officers of the register, the inner one by the officer the order names, every limit, facility and purpose, the
// expiry, and a recipient that the authority certified for it. The error wraps [ErrMalformed] or [ErrRefused]; if only the
// recipient is wrong it is a [*RecipientError].
func Verify(raw []byte, trusted Trusted, now time.Time) (Approved, error) {
	approval, p, err := disclose(raw)
	if err != nil {
		return Approved{}, err
	}
	a, w, err := verify(approval, trusted, now)
	if err != nil {
		return Approved{}, err
	}
	if a.Order, err = p.complete(a.Order, [32]byte(w.Particulars)); err != nil {
		return Approved{}, err
	}
	return trusted.certified(a, w, now)
}

// VerifyForIssuer is Verify of what [ForIssuer] returned; Facility and Purpose are empty.
func VerifyForIssuer(raw []byte, trusted Trusted, now time.Time) (Approved, error) {
	a, w, err := verify(raw, trusted, now)
	if err != nil {
		return Approved{}, err
	}
	return trusted.certified(a, w, now)
}

// certified returns the order with its recipient, if the authority certified it.
func (t Trusted) certified(a Approved, w wireOrder, now time.Time) (Approved, error) {
	c, err := verifyCertificate(w.Certificate, t.Root, a.Digest, now)
	if err != nil {
		return Approved{}, &RecipientError{Order: a, Reason: err}
	}
	a.Recipient = c
	return a, nil
}

// verify checks everything of an approved order but its particulars and its recipient.
func verify(raw []byte, trusted Trusted, now time.Time) (Approved, wireOrder, error) {
	outer, err := parse1(raw, contentApproval)
	if err != nil {
		return Approved{}, wireOrder{}, err
	}
	approver, err := outer.by(trusted.Officers)
	if err != nil {
		return Approved{}, wireOrder{}, fmt.Errorf("approval: %w", err)
	}
	o, w, err := readInner(outer.sign1.Payload, trusted.Officers, now)
	if err != nil {
		return Approved{}, wireOrder{}, err
	}
	if o.Officer == approver.Name {
		return Approved{}, wireOrder{}, fmt.Errorf("%w: officer %s approved their own order", ErrRefused, o.Officer)
	}
	return Approved{Order: o, Approver: approver.Name}, w, nil
}

func readInner(signed []byte, officers Officers, now time.Time) (Order, wireOrder, error) {
	msg, err := parse1(signed, contentOrder)
	if err != nil {
		return Order{}, wireOrder{}, err
	}
	officer, err := msg.by(officers)
	if err != nil {
		return Order{}, wireOrder{}, err
	}
	o, w, err := unmarshal(msg.sign1.Payload)
	if err != nil {
		return Order{}, wireOrder{}, err
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
		return Order{}, wireOrder{}, err
	}
	return o, w, nil
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

// by returns the officer of the register who signed the message.
func (m message) by(officers Officers) (Officer, error) {
	officer, ok := officers.ByKey(m.kid)
	if !ok {
		return Officer{}, fmt.Errorf("%w: key %v belongs to no officer in the register", ErrRefused, m.kid)
	}
	if err := m.verify(officer.Public); err != nil {
		return Officer{}, fmt.Errorf("%w: signature does not match key %v of officer %s", ErrRefused, m.kid, officer.Name)
	}
	return officer, nil
}

func (m message) verify(pub ed25519.PublicKey) error {
	v, err := cose.NewVerifier(cose.AlgorithmEdDSA, pub)
	if err != nil {
		return err
	}
	return m.sign1.Verify(nil, v)
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
