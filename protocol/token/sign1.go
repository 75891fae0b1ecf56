package token

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/veraison/go-cose"
)

// Codes and trust lists share one envelope: a COSE_Sign1 (RFC 9052 section 4.2) whose every byte but key identifier,
// payload and signature is fixed, in deterministic encoding (RFC 8949 section 4.2).
var envelopeHead = []byte{
	0xd2,             // tag 18
	0x84,             // array of 4
	protectedMapHead, // protected header, 13 bytes
	0xa2, 0x01, 0x27, // {1: -8 (EdDSA),
	0x04, 0x48, //        4: 8 bytes} and here follows the key identifier
}

const (
	protectedMapHead = 0x40 | 13
	unprotectedEmpty = 0xa0 // {}, follows the key identifier
)

var (
	errNoEnvelope   = errors.New("not a tagged COSE_Sign1 with exactly EdDSA and a key identifier of 8 bytes in its header")
	errNoPayload    = errors.New("payload is detached")
	errSignature    = fmt.Errorf("signature is not %d bytes long", ed25519.SignatureSize)
	errEncoding     = errors.New("not deterministically encoded")
	errNoPrivateKey = fmt.Errorf("signing key is not %d bytes long", ed25519.PrivateKeySize)
)

// protectedHeader returns the protected header of kid as it stands in the message, byte string head included.
func protectedHeader(kid KID) []byte { return append(bytes.Clone(envelopeHead[2:]), kid[:]...) }

// sign1 returns the envelope of payload, signed with key.
func sign1(key ed25519.PrivateKey, payload []byte) ([]byte, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, errNoPrivateKey
	}
	signer, err := cose.NewSigner(cose.AlgorithmEdDSA, key)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	kid := KeyID(key.Public().(ed25519.PublicKey))
	msg := cose.NewSign1Message()
	msg.Payload = payload
	msg.Headers.RawProtected = protectedHeader(kid)
	msg.Headers.Protected = cose.ProtectedHeader{
		cose.HeaderLabelAlgorithm: cose.AlgorithmEdDSA,
		cose.HeaderLabelKeyID:     kid[:],
	}
	if err := msg.Sign(nil, nil, signer); err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return msg.MarshalCBOR()
}

// parseSign1 reads an envelope and checks no signature. The header is compared before any CBOR is decoded, so nothing
// nested, tagged or repeated ever reaches the decoder. The message shares memory with raw.
func parseSign1(raw []byte) (KID, *cose.Sign1Message, error) {
	rest, ok := bytes.CutPrefix(raw, envelopeHead)
	if !ok || len(rest) <= len(KID{}) || rest[len(KID{})] != unprotectedEmpty {
		return KID{}, nil, errNoEnvelope
	}
	msg := cose.NewSign1Message()
	if err := msg.UnmarshalCBOR(raw); err != nil {
		return KID{}, nil, errNoEnvelope
	}
	if msg.Payload == nil {
		return KID{}, nil, errNoPayload
	}
	if len(msg.Signature) != ed25519.SignatureSize {
		return KID{}, nil, errSignature
	}
	if len(raw) != len(envelopeHead)+len(KID{})+1+bstrSize(len(msg.Payload))+bstrSize(len(msg.Signature)) {
		return KID{}, nil, errEncoding // a length is written in more bytes than it needs; nothing else is left to choose
	}
	return KID(rest[:len(KID{})]), msg, nil
}

// bstrSize returns the length of the shortest encoding of a byte string of n bytes (RFC 8949 section 3).
func bstrSize(n int) int {
	switch {
	case n < 24:
		return 1 + n
	case n <= 0xff:
		return 2 + n
	case n <= 0xffff:
		return 3 + n
	default:
		return 5 + n
	}
}

// verifySign1 reports whether key signed the message.
func verifySign1(msg *cose.Sign1Message, key ed25519.PublicKey) bool {
	if len(key) != ed25519.PublicKeySize {
		return false
	}
	verifier, err := cose.NewVerifier(cose.AlgorithmEdDSA, key)
	return err == nil && msg.Verify(nil, verifier) == nil
}
