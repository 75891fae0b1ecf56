package main

import (
	"crypto/ed25519"
	"fmt"

	"github.com/kipass/kipass/internal/keyfile"
)

// makeRoot makes a root key in a file that must not be there yet.
func makeRoot(path string) error {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return fmt.Errorf("making the root key: %w", err)
	}
	if err := keyfile.Create(path, key); err != nil {
		return fmt.Errorf("making the root key: %w", err)
	}
	return nil
}

func readRoot(path string) (ed25519.PrivateKey, error) {
	key, err := keyfile.ReadEd25519(path)
	if err != nil {
		return nil, fmt.Errorf("the root key: %w", err)
	}
	return key, nil
}
