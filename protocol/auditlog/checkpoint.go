package auditlog

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/kipass/kipass/protocol/publickey"
)

// checkpoint is a signed tree head as C2SP tlog-checkpoint has it: origin, size and root hash, one a line, signed as a
// C2SP signed-note with Ed25519.
type checkpoint struct {
	size int64
	root tlog.Hash
}

// VerifierKey returns the text an auditor needs to check the log, "origin+hash+key" (C2SP signed-note).
func VerifierKey(origin string, pub ed25519.PublicKey) (string, error) {
	if err := publickey.Check(pub); err != nil {
		return "", fmt.Errorf("audit log's key: %w", err)
	}
	return note.NewEd25519VerifierKey(origin, pub)
}

// newVerifier reads what VerifierKey returned.
func newVerifier(vkey string) (note.Verifier, error) {
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, err
	}
	// "origin+hash+base64" of one byte of algorithm and the key; NewVerifier has checked the form.
	raw, err := base64.StdEncoding.DecodeString(strings.SplitN(vkey, "+", 3)[2])
	if err != nil || len(raw) != 1+ed25519.PublicKeySize {
		return nil, errors.New("not a key of Ed25519")
	}
	if err := publickey.Check(raw[1:]); err != nil {
		return nil, err
	}
	return v, nil
}

// signer signs notes with a raw key; note's own takes keys in a text form only.
type signer struct {
	name   string
	hash   uint32
	logKey ed25519.PrivateKey
}

func newSigner(origin string, logKey ed25519.PrivateKey) (signer, note.Verifier, error) {
	pub, ok := logKey.Public().(ed25519.PublicKey)
	if !ok || len(logKey) != ed25519.PrivateKeySize {
		return signer{}, nil, fmt.Errorf("log key of %d bytes, must be %d", len(logKey), ed25519.PrivateKeySize)
	}
	vkey, err := VerifierKey(origin, pub)
	if err != nil {
		return signer{}, nil, fmt.Errorf("log key: %w", err)
	}
	v, err := newVerifier(vkey)
	if err != nil {
		return signer{}, nil, fmt.Errorf("audit log's origin %q cannot name a key: %w", origin, err)
	}
	return signer{name: origin, hash: v.KeyHash(), logKey: logKey}, v, nil
}

func (s signer) Name() string                    { return s.name }
func (s signer) KeyHash() uint32                 { return s.hash }
func (s signer) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(s.logKey, msg), nil }

func (c checkpoint) sign(s signer) ([]byte, error) {
	text := fmt.Sprintf("%s\n%d\n%s\n", s.name, c.size, base64.StdEncoding.EncodeToString(c.root[:]))
	return note.Sign(&note.Note{Text: text}, s)
}

// maxCheckpoint is the longest signed checkpoint in bytes that is looked at.
const maxCheckpoint = 4 << 10

func openCheckpoint(raw []byte, v note.Verifier) (checkpoint, error) {
	if len(raw) > maxCheckpoint {
		return checkpoint{}, fmt.Errorf("checkpoint of %d bytes, at most %d are read", len(raw), maxCheckpoint)
	}
	n, err := note.Open(raw, note.VerifierList(v))
	if err != nil {
		return checkpoint{}, fmt.Errorf("checkpoint is not signed by %s: %w", v.Name(), err)
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) < 4 || lines[0] != v.Name() {
		return checkpoint{}, fmt.Errorf("checkpoint is not one of %s", v.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return checkpoint{}, errors.New("checkpoint's size is not a number")
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return checkpoint{}, errors.New("checkpoint's root is not a hash")
	}
	return checkpoint{size: size, root: tlog.Hash(root)}, nil
}
