package auditlog

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
)

func TestNoLogIsCheckedWithAKeyThatNobodyOwns(t *testing.T) {
	l := testkit.Must(Open(t.TempDir(), testKey(1), origin))(t)
	defer l.Close()
	entries, signed, err := l.Snapshot()
	testkit.Check(t, err)
	for what, key := range testkit.BadKeys(t) {
		if _, err := VerifierKey(origin, ed25519.PublicKey(key)); err == nil {
			t.Errorf("%s: it becomes a verifier key", what)
		}
		// As C2SP signed-note has it: name, hash of name and key, algorithm 1 and key.
		key = append([]byte{1}, key...)
		hash := sha256.Sum256(append([]byte(origin+"\n"), key...))
		vkey := fmt.Sprintf("%s+%08x+%s", origin, binary.BigEndian.Uint32(hash[:]), base64.StdEncoding.EncodeToString(key))
		if _, err := Check(entries, signed, vkey); err == nil || !strings.Contains(err.Error(), "public key") {
			t.Errorf("%s: a log is checked with it: %v", what, err)
		}
	}
}
