// Package keyfile keeps a private key in a file: PKCS #8 (RFC 5958) in one PEM block "PRIVATE KEY" (RFC 7468 section 10),
// unencrypted, for its owner alone. It is internal because it is no format of ours, only our way of using a common one.
package keyfile

import (
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/secretfile"
)

const blockType = "PRIVATE KEY"

var errBlock = errors.New("no PEM block " + blockType)

// Encode returns the file's content for an Ed25519, ECDSA or RSA private key.
func Encode(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der}), nil
}

// Decode reads the first block of a file's content, which must be what Encode returned.
func Decode(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != blockType {
		return nil, errBlock
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T cannot sign", key)
	}
	return signer, nil
}

// Create writes a key, durably, into a file that must not be there yet.
func Create(path string, key crypto.Signer) error {
	text, err := Encode(key)
	if err != nil {
		return err
	}
	if err := (durable.Disk{}).Create(path, text, 0o600); err != nil {
		return fmt.Errorf("writing a private key: %w", err)
	}
	return nil
}

// Read reads a key. A file that others may read is refused.
func Read(path string) (crypto.Signer, error) {
	text, err := secretfile.Read(path)
	if err != nil {
		return nil, fmt.Errorf("reading a private key: %w", err)
	}
	key, err := Decode(text)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return key, nil
}

// ReadEd25519 reads a key that must be an Ed25519 one.
func ReadEd25519(path string) (ed25519.PrivateKey, error) {
	key, err := Read(path)
	if err != nil {
		return nil, err
	}
	ed, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("reading %s: not an Ed25519 key", path)
	}
	return ed, nil
}
