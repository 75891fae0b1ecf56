// Package inquiry is the health authority's side: it makes and approves orders, asks the visit server and then each
// issuer, and joins their answers into a contact list. Place and identity meet here and nowhere else. Every order has an
// age identity of its own, to which all answers and the list are encrypted; destroying it destroys them, wherever a copy
// may be.
package inquiry

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/keyfile"
	"github.com/kipass/kipass/internal/secretfile"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/order"
)

// Names within the authority's folder.
const (
	authorityFile = "authority.key" // age identity under which the identities of orders lie
	auditKeyFile  = "audit.key"
	rootFile      = "root.key" // certifies recipients of orders; its public half is pinned by all who are asked
	nameFile      = "name"     // of the authority, for people
	officersFile  = "officers"
	ordersDir     = "orders" // one folder per order
	auditDir      = "audit"

	identityFile = "identity.age" // the order's identity, encrypted to the authority
	contactsFile = "contacts.age"
)

// AuditOrigin names the authority's audit log.
const AuditOrigin = "kipass/inquiry"

// Authority is the health authority's folder, opened. One process may have it open.
type Authority struct {
	dir    string
	master *age.X25519Identity // identities of orders lie encrypted to it
	root   ed25519.PrivateKey
	name   string
	audit  *auditlog.Log
	now    func() time.Time
}

// DefaultName is what an authority is called that has not been named.
const DefaultName = "질병관리본부"

// Init makes the folder of an authority of that name: its age identity, its root key and the key of its audit log. It
// refuses a folder that has all of them already. An Init that was interrupted is repeated: what it made stays as it is.
func Init(dir, name string) error { return initialise(dir, name, durable.Disk{}) }

func initialise(dir, name string, disk durable.Disk) error {
	if err := order.CheckAuthority(name); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, ordersDir), 0o700); err != nil {
		return fmt.Errorf("making the authority's folder: %w", err)
	}
	complete := true
	for _, file := range []struct {
		name string
		make func() ([]byte, error)
	}{
		{authorityFile, makeIdentity},
		{nameFile, func() ([]byte, error) { return []byte(name + "\n"), nil }},
		{rootFile, makeKey},
		{auditKeyFile, makeKey},
	} {
		text, err := file.make()
		if err != nil {
			return fmt.Errorf("making %s: %w", file.name, err)
		}
		switch err := disk.Create(filepath.Join(dir, file.name), text, 0o600); {
		case err == nil:
			complete = false
		case !errors.Is(err, fs.ErrExist):
			return fmt.Errorf("writing %s: %w", file.name, err)
		}
	}
	if complete {
		return fmt.Errorf("%s has an authority already", dir)
	}
	return nil
}

func makeIdentity() ([]byte, error) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, err
	}
	return []byte(identity.String() + "\n"), nil
}

func makeKey() ([]byte, error) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	return keyfile.Encode(key)
}

// Open opens the authority's folder.
func Open(dir string, now func() time.Time) (*Authority, error) {
	text, err := secretfile.Read(filepath.Join(dir, authorityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s has no authority: make it with 'kipass-inquiry init'", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the authority's key: %w", err)
	}
	identity, err := age.ParseX25519Identity(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("reading the authority's key: %s is not an age identity", authorityFile)
	}
	key, err := keyfile.ReadEd25519(filepath.Join(dir, auditKeyFile))
	if err != nil {
		return nil, err
	}
	root, err := keyfile.ReadEd25519(filepath.Join(dir, rootFile))
	if err != nil {
		return nil, err
	}
	name, err := os.ReadFile(filepath.Join(dir, nameFile))
	if err != nil {
		return nil, fmt.Errorf("reading the authority's name: %w", err)
	}
	audit, err := auditlog.Open(filepath.Join(dir, auditDir), key, AuditOrigin)
	if err != nil {
		return nil, err
	}
	a := &Authority{dir: dir, master: identity, root: root, name: strings.TrimSpace(string(name)), audit: audit, now: now}
	if _, err := a.trusted(); err != nil {
		return nil, errors.Join(err, audit.Close())
	}
	return a, nil
}

// Close closes the folder.
func (a *Authority) Close() error { return a.audit.Close() }

// AuditKey returns the verifier key of the authority's audit log.
func AuditKey(dir string) (string, error) {
	key, err := keyfile.ReadEd25519(filepath.Join(dir, auditKeyFile))
	if err != nil {
		return "", err
	}
	return auditlog.VerifierKey(AuditOrigin, key.Public().(ed25519.PublicKey))
}

func (a *Authority) orderDir(id order.ID) string { return filepath.Join(a.dir, ordersDir, id.String()) }

// newIdentity makes an order's identity, durable before it is used.
func (a *Authority) newIdentity(id order.ID) (*age.X25519Identity, error) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, fmt.Errorf("making the order's key: %w", err)
	}
	sealed, err := encrypt(a.master.Recipient(), []byte(identity.String()))
	if err != nil {
		return nil, err
	}
	dir := a.orderDir(id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the order's folder: %w", err)
	}
	var disk durable.Disk
	err = errors.Join(disk.Create(filepath.Join(dir, identityFile), sealed, 0o600), disk.SyncDir(filepath.Dir(dir)))
	if err != nil {
		return nil, fmt.Errorf("writing the order's key: %w", err)
	}
	return identity, nil
}

func (a *Authority) identity(id order.ID) (*age.X25519Identity, error) {
	sealed, err := os.ReadFile(filepath.Join(a.orderDir(id), identityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("order %v was not made in this folder, or has been destroyed", id)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the order's key: %w", err)
	}
	plain, err := decrypt(a.master, sealed)
	if err != nil {
		return nil, fmt.Errorf("reading the order's key: %w", err)
	}
	return age.ParseX25519Identity(string(plain))
}

func encrypt(to age.Recipient, plain []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := age.Encrypt(&b, to)
	if err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	if _, err := w.Write(plain); err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	return b.Bytes(), nil
}

func decrypt(with age.Identity, sealed []byte) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(sealed), with)
	if err != nil {
		return nil, fmt.Errorf("decrypting: %w", err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("decrypting: %w", err)
	}
	return plain, nil
}
