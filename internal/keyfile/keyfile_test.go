package keyfile

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestAKeyIsReadAsItWasWritten(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	edPath, ecPath := filepath.Join(dir, "ed"), filepath.Join(dir, "ec")
	if err := errors.Join(Create(edPath, ed), Create(ecPath, ec)); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadEd25519(edPath); err != nil || !got.Equal(ed) {
		t.Errorf("another key: %v", err)
	}
	if got, err := Read(ecPath); err != nil || !ec.Equal(got) {
		t.Errorf("another key: %v", err)
	}
	if _, err := ReadEd25519(ecPath); err == nil {
		t.Error("an ECDSA key was taken for an Ed25519 one")
	}
	if info, err := os.Stat(edPath); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := Create(edPath, ec); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a key was written over another: %v", err)
	}
	if _, err := Read(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	good, err := Encode(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:40])
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := Decode(text)
		if err != nil {
			return
		}
		again, err := Encode(key)
		if err != nil {
			t.Fatalf("a key that was read cannot be written: %v", err)
		}
		if _, err := Decode(again); err != nil {
			t.Fatalf("a key that was written cannot be read: %v", err)
		}
	})
}
