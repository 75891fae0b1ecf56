package token

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"sync/atomic"
	"time"
)

// Trust is the trust list in force at a gate. It is a [Keyring] for any number of goroutines; reading it never blocks.
type Trust struct {
	root ed25519.PublicKey
	held atomic.Pointer[heldList]
}

// heldList is never changed once it is in force.
type heldList struct {
	version uint64
	expires time.Time
	raw     []byte
	keys    map[KID]IssuerKey
}

// NewTrust returns a Trust that holds no list yet: every issuer is unknown until [Trust.Update]. An unusable root key
// makes every Update fail.
func NewTrust(root ed25519.PublicKey) *Trust {
	t := &Trust{root: bytes.Clone(root)}
	t.held.Store(&heldList{})
	return t
}

// Update takes raw into force if it is signed by the root and newer than the list held. The list already held is
// accepted again without effect. Errors wrap [ErrTrustList], and [ErrRollback] where the version is not newer; the list
// held then stays in force. The caller keeps raw across restarts, else roll-back protection ends with the process.
func (t *Trust) Update(raw []byte) error {
	if held := t.held.Load(); held.version > 0 && bytes.Equal(held.raw, raw) {
		return nil
	}
	list, err := OpenTrustList(t.root, raw)
	if err != nil {
		return err
	}
	next := &heldList{version: list.Version, expires: list.Expires, raw: bytes.Clone(raw), keys: map[KID]IssuerKey{}}
	for _, i := range list.Issuers {
		for _, k := range i.Keys {
			next.keys[KeyID(k.Public)] = k
		}
	}
	for {
		held := t.held.Load()
		if bytes.Equal(held.raw, raw) {
			return nil
		}
		if next.version <= held.version {
			return fmt.Errorf("%w: version %d offered, version %d held: %w", ErrTrustList, next.version, held.version, ErrRollback)
		}
		if t.held.CompareAndSwap(held, next) {
			return nil
		}
	}
}

// Key implements [Keyring].
func (t *Trust) Key(kid KID) (IssuerKey, bool) {
	k, ok := t.held.Load().keys[kid]
	return k, ok
}

// Version returns the version in force, 0 for none.
func (t *Trust) Version() uint64 { return t.held.Load().version }

// Stale reports whether the list in force is past its expiry at now. No list at all is stale.
func (t *Trust) Stale(now time.Time) bool {
	held := t.held.Load()
	return held.version == 0 || now.After(held.expires)
}
