package order

import (
	"bytes"
	"fmt"
	"io"

	"filippo.io/age"
)

// SealVisitAnswer returns the answer encrypted to the order's certified recipient (age-encryption.org/v1). More than
// MaxScans scans are refused.
func SealVisitAnswer(recipient Certificate, a VisitAnswer) ([]byte, error) {
	plain, err := encodeVisitAnswer(a)
	if err != nil {
		return nil, err
	}
	return seal(recipient, plain)
}

// OpenVisitAnswer decrypts and reads an answer of the visit server.
func OpenVisitAnswer(sealed []byte, authority age.Identity) (VisitAnswer, error) {
	plain, err := open(sealed, authority)
	if err != nil {
		return VisitAnswer{}, err
	}
	return decodeVisitAnswer(plain)
}

// SealIssuerAnswer returns the answer encrypted to the order's certified recipient.
func SealIssuerAnswer(recipient Certificate, a IssuerAnswer) ([]byte, error) {
	plain, err := encodeIssuerAnswer(a)
	if err != nil {
		return nil, err
	}
	return seal(recipient, plain)
}

// OpenIssuerAnswer decrypts and reads an answer of an issuer.
func OpenIssuerAnswer(sealed []byte, authority age.Identity) (IssuerAnswer, error) {
	plain, err := open(sealed, authority)
	if err != nil {
		return IssuerAnswer{}, err
	}
	return decodeIssuerAnswer(plain)
}

func seal(recipient Certificate, plain []byte) ([]byte, error) {
	if recipient.raw == "" {
		return nil, fmt.Errorf("encrypting to the authority: %w", ErrRecipient)
	}
	r, err := age.ParseX25519Recipient(recipient.Recipient)
	if err != nil {
		return nil, fmt.Errorf("encrypting to the authority: %w", err)
	}
	var b bytes.Buffer
	w, err := age.Encrypt(&b, r)
	if err != nil {
		return nil, fmt.Errorf("encrypting to the authority: %w", err)
	}
	if _, err := w.Write(plain); err != nil {
		return nil, fmt.Errorf("encrypting to the authority: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("encrypting to the authority: %w", err)
	}
	return b.Bytes(), nil
}

func open(sealed []byte, authority age.Identity) ([]byte, error) {
	if len(sealed) > MaxAnswer {
		return nil, fmt.Errorf("%w: answer of %d bytes, at most %d", ErrMessage, len(sealed), MaxAnswer)
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), authority)
	if err != nil {
		return nil, fmt.Errorf("decrypting an answer with the authority's key: %w", err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("decrypting an answer with the authority's key: %w", err)
	}
	return plain, nil
}
