package order

import (
	"crypto/ed25519"
	"encoding/base64"
	"path/filepath"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
)

func TestNoRegisterOfOfficersTakesAKeyThatNobodyOwns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "officers")
	for what, key := range testkit.BadKeys(t) {
		o := Officer{"choi", ed25519.PublicKey(key)}
		text := "kipass-officer:" + base64.RawURLEncoding.EncodeToString(key)
		if _, err := NewOfficers(o); err == nil {
			t.Errorf("%s: a register is made with it", what)
		}
		if _, err := ParsePublicKey(text); err == nil {
			t.Errorf("%s: it is read as a key", what)
		}
		if _, err := ParseOfficers([]byte("choi " + text)); err == nil {
			t.Errorf("%s: a register is read with it", what)
		}
		if err := AppendOfficer(path, o); err == nil {
			t.Errorf("%s: it is written into a register", what)
		}
	}
	if r, err := ReadOfficers(path); err != nil || r.Len() != 0 {
		t.Errorf("%d officers are registered, %v", r.Len(), err)
	}
}
