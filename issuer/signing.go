package issuer

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/keyfile"
	"github.com/kipass/kipass/protocol/token"
)

// A gate says of a code whose key is not in its trust list, or has ended, that it is not genuine. So keys overlap: the next
// one is made, stands in a trust list, and only then, when gates have had a week to get that list, signs codes.
const (
	keyLife     = 2 * 365 * 24 * time.Hour // how long a key is offered for the trust list
	keyWarning  = 60 * 24 * time.Hour      // before codes can no longer be signed, the operator is told
	publishLead = 7 * 24 * time.Hour       // from the trust list that has a key to its first code
)

// SigningKey is one key with which codes are signed, or will be.
type SigningKey struct {
	Public    ed25519.PublicKey `json:"public"`
	NotBefore time.Time         `json:"not_before"`
	NotAfter  time.Time         `json:"not_after"`     // inclusive
	From      time.Time         `json:"from,omitzero"` // when it signs its first code; zero: not before a trust list has it
}

// ID is what logs and trust lists call the key.
func (k SigningKey) ID() string { return token.KeyID(k.Public).String() }

// signs reports whether codes of t may be signed with it.
func (k SigningKey) signs(t time.Time) bool {
	return !k.From.IsZero() && !t.Before(k.From) && !t.Before(k.NotBefore) && !t.After(k.NotAfter)
}

// signingKeys is the register of keys, oldest first; private halves lie in the folder of secrets, a file each.
type signingKeys struct {
	Version int          `json:"version"`
	Keys    []SigningKey `json:"keys"`
}

const signingVersion = 1

func readSigning(dir string) (signingKeys, error) {
	path := filepath.Join(dir, signingFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return signingKeys{}, fmt.Errorf("reading the register of signing keys: %w", err)
	}
	var s signingKeys
	if err := json.Unmarshal(text, &s); err != nil {
		return signingKeys{}, fmt.Errorf("reading %s: %w", path, err)
	}
	if s.Version != signingVersion {
		return signingKeys{}, fmt.Errorf("reading %s: version %d, this program reads version %d", path, s.Version, signingVersion)
	}
	return s, nil
}

func (s signingKeys) write(dir string, disk durable.Disk) error {
	s.Version = signingVersion
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := disk.Replace(filepath.Join(dir, signingFile), append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing the register of signing keys: %w", err)
	}
	return nil
}

// ids are the keys as an audit log tells of them.
func (s signingKeys) ids() map[string]string {
	ids := map[string]string{}
	for _, k := range s.Keys {
		ids[k.ID()] = k.ID()
	}
	return ids
}

// end is the last moment for which codes can be signed with the keys that have been put to use.
func (s signingKeys) end() (end time.Time) {
	for _, k := range s.Keys {
		if !k.From.IsZero() && k.NotAfter.After(end) {
			end = k.NotAfter
		}
	}
	return end
}

// in returns the newest key that signs codes of t.
func (s signingKeys) in(t time.Time) (best SigningKey, ok bool) {
	for _, k := range s.Keys {
		if k.signs(t) && (!ok || k.From.After(best.From)) {
			best, ok = k, true
		}
	}
	return best, ok
}

// privatePattern matches the files of all private halves in a folder of secrets.
const privatePattern = "signing-*.key"

func privatePath(secretDir string, k SigningKey) string {
	return filepath.Join(secretDir, "signing-"+k.ID()+".key")
}

// makeSigningKey makes a key, its private half durable before the register names it.
func makeSigningKey(secretDir string, now time.Time, disk durable.Disk) (SigningKey, error) {
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return SigningKey{}, fmt.Errorf("making a signing key: %w", err)
	}
	k := SigningKey{Public: pub, NotBefore: now.UTC().Truncate(24 * time.Hour)}
	k.NotAfter = k.NotBefore.Add(keyLife)
	return k, writeKey(disk, privatePath(secretDir, k), key)
}

// signer signs codes with the key that is in use.
type signer struct {
	dir, secretDir string
	log            *slog.Logger
	held           atomic.Pointer[heldKeys]
	told           atomic.Int64 // the day on which the end was last warned of, in days since 1970
}

// heldKeys is never changed once it is held.
type heldKeys struct {
	signingKeys
	private map[string]ed25519.PrivateKey // by ID
}

func openSigner(dir, secretDir string, log *slog.Logger) (*signer, error) {
	s := &signer{dir: dir, secretDir: secretDir, log: log}
	return s, s.reload()
}

// reload takes up the register as it stands now; after an error the keys held before stay.
func (s *signer) reload() error {
	keys, err := readSigning(s.dir)
	if err != nil {
		return err
	}
	held := &heldKeys{signingKeys: keys, private: map[string]ed25519.PrivateKey{}}
	for _, k := range keys.Keys {
		if held.private[k.ID()], err = keyfile.ReadEd25519(privatePath(s.secretDir, k)); err != nil {
			return err
		}
		if !k.Public.Equal(held.private[k.ID()].Public()) {
			return fmt.Errorf("private signing key %s does not belong to the public one in %s", k.ID(), signingFile)
		}
	}
	s.held.Store(held)
	return nil
}

// keyOf returns the key for a code of iat. The error wraps ErrKeyEnded if there is none.
func (s *signer) keyOf(iat time.Time) (ed25519.PrivateKey, error) {
	held := s.held.Load()
	k, ok := held.in(iat)
	if !ok {
		return nil, ErrKeyEnded
	}
	return held.private[k.ID()], nil
}

// watch takes up changes of the register, and tells the operator once a day when the end is near.
func (s *signer) watch(now time.Time) {
	if err := s.reload(); err != nil {
		s.log.Error("signing keys cannot be read again; those held before stay in use", "error", err)
	}
	today := now.Unix() / 86400
	end := s.held.Load().end()
	if now.Before(end.Add(-keyWarning)) || s.told.Swap(today) == today {
		return
	}
	if now.After(end) {
		s.log.Error("the signing key has ended: no code is issued; see kipass-issuer keys", "clock", now, "end", end)
		return
	}
	s.log.Warn("the signing key ends soon: see kipass-issuer keys rotate", "end", end, "days", int(end.Sub(now)/(24*time.Hour)))
}

// withoutEnded returns the keys that have not ended.
func (s signingKeys) withoutEnded(now time.Time) signingKeys {
	ended := func(k SigningKey) bool { return now.After(k.NotAfter) }
	s.Keys = slices.DeleteFunc(slices.Clone(s.Keys), ended)
	return s
}

// erasePrivate destroys the private halves of keys that the register does not name: they have ended, or a command that
// was making them was interrupted.
func (s signingKeys) erasePrivate(secretDir string) error {
	paths, err := filepath.Glob(filepath.Join(secretDir, privatePattern))
	if err != nil {
		return err
	}
	for _, path := range paths {
		named := func(k SigningKey) bool { return privatePath(secretDir, k) == path }
		if slices.ContainsFunc(s.Keys, named) {
			continue
		}
		if err := (durable.Disk{}).Erase(path); err != nil {
			return fmt.Errorf("destroying %s: %w", filepath.Base(path), err)
		}
	}
	return nil
}
