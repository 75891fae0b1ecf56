package order

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/kipass/kipass/internal/durable"
)

// ReadOfficers reads the register in the file path. A missing file is a register without officers.
func ReadOfficers(path string) (Officers, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Officers{}, nil
	}
	if err != nil {
		return Officers{}, fmt.Errorf("reading the register of officers: %w", err)
	}
	r, err := ParseOfficers(text)
	if err != nil {
		return Officers{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return r, nil
}

// AppendOfficer adds an officer to the register in the file path and returns after it is durable. The whole register is
// checked as it would be afterwards; nothing is written if the check fails.
func AppendOfficer(path string, o Officer) error {
	if err := checkOfficer(o.Name); err != nil {
		return err // it would be read back as something else than one name
	}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the register of officers: %w", err)
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	text = append(text, o.line()...)
	if _, err := ParseOfficers(text); err != nil {
		return err
	}
	return writeRegister(path, text)
}

// RemoveOfficer takes an officer off the register in the file path and returns after it is durable. Other lines stay as
// they are.
func RemoveOfficer(path, name string) error {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the register of officers: %w", err)
	}
	var kept []byte
	for line := range bytes.Lines(text) {
		if is, _, _ := strings.Cut(strings.TrimSpace(string(line)), " "); is != name {
			kept = append(kept, line...)
		}
	}
	if len(kept) == len(text) {
		return fmt.Errorf("no officer is called %s in the register", name)
	}
	return writeRegister(path, kept)
}

func writeRegister(path string, text []byte) error {
	if err := (durable.Disk{}).Replace(path, text, 0o600); err != nil {
		return fmt.Errorf("writing the register of officers: %w", err)
	}
	return nil
}

// ReadRoot reads the authority's root key from the file path, nil if there is none.
func ReadRoot(path string) (ed25519.PublicKey, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the authority's root key: %w", err)
	}
	pub, err := ParseRoot(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return pub, nil
}

// WriteRoot writes the authority's root key into the file path, in place of the one that may be there, and returns after
// it is durable.
func WriteRoot(path string, pub ed25519.PublicKey) error {
	text := FormatRoot(pub)
	if _, err := ParseRoot(text); err != nil {
		return err
	}
	if err := (durable.Disk{}).Replace(path, []byte(text+"\n"), 0o600); err != nil {
		return fmt.Errorf("writing the authority's root key: %w", err)
	}
	return nil
}
