package uplink

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"

	"github.com/kipass/kipass/internal/keyfile"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// Files of the identity folder. Key and certificate share one file, so that one rename swaps both.
const (
	fileTerminal  = "terminal.pem"   // the identity in use
	filePrevious  = "previous.pem"   // the identity before the last renewal: a restored server may know no other
	filePending   = "pending.pem"    // the key of a request whose answer has not come yet
	fileProvision = "provision.cbor" // the newest provision the gate has accepted
	fileRevoked   = "revoked"        // there while the server says that this terminal is revoked
	damagedSuffix = ".damaged"       // appended to the name of a file that could not be read
)

// Identity is what makes a gate known to the visit server: a P-256 key made on the device, its terminal certificate and
// the newest provision, kept in one folder (0700) that survives a crash at any moment. It is safe for concurrent use.
type Identity struct {
	folder folder

	mu        sync.Mutex
	terminal  *tls.Certificate // nil when not enrolled
	previous  *tls.Certificate // nil until the first renewal
	provision *wire.Provision
	revoked   bool
	damage    error // what was set aside while opening
}

// OpenIdentity loads the identity kept in dir, without any network, and makes the folder if there is none. A damaged
// file is set aside under another name and counts as absent ([Identity.Damage] tells); an error means that the folder cannot be used.
func OpenIdentity(dir string) (*Identity, error) {
	f, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	id := &Identity{folder: f}
	if err := id.load(fileTerminal, func(b []byte) (err error) { id.terminal, err = parseTerminal(b); return }); err != nil {
		return nil, err
	}
	if err := id.load(filePrevious, func(b []byte) (err error) { id.previous, err = parseTerminal(b); return }); err != nil {
		return nil, err
	}
	if err := id.load(fileProvision, func(b []byte) error {
		p, err := wire.Decode[wire.Provision](b)
		if err != nil {
			return err
		}
		if err := checkProvision(p); err != nil {
			return err
		}
		id.provision = &p
		return nil
	}); err != nil {
		return nil, err
	}
	if id.terminal == nil && id.previous != nil { // it was damaged; until its end, the one before is as good
		id.terminal, id.previous = id.previous, nil
		if err := f.move(filePrevious, fileTerminal); err != nil {
			return nil, err
		}
	}
	if err := id.load(fileRevoked, func([]byte) error { id.revoked = true; return nil }); err != nil {
		return nil, err
	}
	return id, nil
}

func (id *Identity) load(name string, parse func([]byte) error) error {
	b, err := id.folder.read(name)
	if err != nil || b == nil {
		return err
	}
	if err := parse(b); err != nil {
		id.damage = errors.Join(id.damage, fmt.Errorf("%s is damaged and was set aside: %w", id.folder.path(name), err))
		return id.folder.move(name, name+damagedSuffix)
	}
	return nil
}

// Damage returns what was found damaged by OpenIdentity, nil for nothing.
func (id *Identity) Damage() error { return id.damage }

// Terminal returns the place the certificate names; ok is false when the gate is not enrolled.
func (id *Identity) Terminal() (f visit.Facility, g visit.Gate, ok bool) {
	c := id.certificate()
	if c == nil {
		return "", "", false
	}
	f, g, err := placeOf(c.Leaf)
	return f, g, err == nil
}

// Provision returns the newest provision the gate has accepted; ok is false when there is none.
func (id *Identity) Provision() (p wire.Provision, ok bool) {
	id.mu.Lock()
	defer id.mu.Unlock()
	if id.provision == nil {
		return wire.Provision{}, false
	}
	return *id.provision, true
}

func (id *Identity) certificate() *tls.Certificate {
	id.mu.Lock()
	defer id.mu.Unlock()
	return id.terminal
}

// isRevoked reports what the server said last, across restarts.
func (id *Identity) isRevoked() bool {
	id.mu.Lock()
	defer id.mu.Unlock()
	return id.revoked
}

func (id *Identity) setRevoked(r bool) error {
	id.mu.Lock()
	defer id.mu.Unlock()
	if r == id.revoked {
		return nil
	}
	var err error
	if r {
		err = id.folder.write(fileRevoked, []byte("revoked by the server\n"))
	} else {
		err = id.folder.remove(fileRevoked)
	}
	if err == nil {
		id.revoked = r
	}
	return err
}

func (id *Identity) keepProvision(p wire.Provision) error {
	b, err := wire.Encode(p)
	if err != nil {
		return fmt.Errorf("encoding provision: %w", err)
	}
	id.mu.Lock()
	defer id.mu.Unlock()
	if err := id.folder.write(fileProvision, b); err != nil {
		return err
	}
	id.provision = &p
	return nil
}

// pendingKey returns the key of an unanswered request, or a new one that is durable before it is used: an answer that
// was lost can then be asked for again under the same key.
func (id *Identity) pendingKey() (*ecdsa.PrivateKey, error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	b, err := id.folder.read(filePending)
	if err != nil {
		return nil, err
	}
	if held, err := keyfile.Decode(b); err == nil {
		if key, ok := held.(*ecdsa.PrivateKey); ok {
			return key, nil
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the terminal's key: %w", err)
	}
	b, err = keyfile.Encode(key)
	if err != nil {
		return nil, err
	}
	if err := id.folder.write(filePending, b); err != nil {
		return nil, err
	}
	return key, nil
}

// enrol takes key and certificate into use, durably, and ends the pending request. What there was before is of the past.
func (id *Identity) enrol(key *ecdsa.PrivateKey, der []byte) error {
	return id.take(key, der, func() error {
		id.previous = nil
		return id.folder.remove(filePrevious)
	})
}

// renew takes key and certificate into use in place of those there are, which stay for fallBack, and ends the pending
// request.
func (id *Identity) renew(key *ecdsa.PrivateKey, der []byte) error {
	return id.take(key, der, func() error {
		b, err := id.folder.read(fileTerminal)
		if err != nil {
			return err
		}
		id.previous = id.terminal
		return id.folder.write(filePrevious, b)
	})
}

// take does so after it has dealt with those before. A crash in between leaves an identity that works, and the request
// pending.
func (id *Identity) take(key *ecdsa.PrivateKey, der []byte, before func() error) error {
	b, err := keyfile.Encode(key)
	if err != nil {
		return err
	}
	b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	c, err := parseTerminal(b)
	if err != nil {
		return err
	}
	id.mu.Lock()
	defer id.mu.Unlock()
	if err := before(); err != nil {
		return err
	}
	if err := id.folder.write(fileTerminal, b); err != nil {
		return err
	}
	id.terminal = c
	return id.folder.remove(filePending)
}

// fallBack takes the identity before the last renewal into use, and keeps the other in its place; false if there is none. A
// crash in between may lose the other.
func (id *Identity) fallBack() (bool, error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	if id.previous == nil {
		return false, nil
	}
	newer, err := id.folder.read(fileTerminal)
	if err != nil {
		return false, err
	}
	if err := id.folder.move(filePrevious, fileTerminal); err != nil {
		return false, err
	}
	id.terminal, id.previous = id.previous, id.terminal
	return true, id.folder.write(filePrevious, newer)
}
