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

	"github.com/kipass/kipass/internal/testkit"
)

func TestAKeyIsReadAsItWasWritten(t *testing.T) {
	ed := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	ec := testkit.Must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	dir := t.TempDir()
	edPath, ecPath := filepath.Join(dir, "ed"), filepath.Join(dir, "ec")
	testkit.Check(t, errors.Join(Create(edPath, ed), Create(ecPath, ec)))
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
	good := testkit.Must(Encode(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))))(f)
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
