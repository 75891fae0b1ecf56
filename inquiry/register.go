package inquiry

import (
	"crypto/ed25519"
	"errors"
	"path/filepath"

	"github.com/kipass/kipass/internal/keyfile"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/order"
)

// RootKey returns the public half of the key with which the authority in the folder dir certifies recipients of orders.
func RootKey(dir string) (ed25519.PublicKey, error) {
	key, err := keyfile.ReadEd25519(filepath.Join(dir, rootFile))
	if err != nil {
		return nil, err
	}
	return key.Public().(ed25519.PublicKey), nil
}

// AddOfficer adds an officer to the authority's own register, and logs it.
func (a *Authority) AddOfficer(o order.Officer) error {
	if err := order.AppendOfficer(filepath.Join(a.dir, officersFile), o); err != nil {
		return err
	}
	_, err := a.trusted()
	return err
}

// RemoveOfficer takes an officer off the authority's own register, and logs it.
func (a *Authority) RemoveOfficer(name string) error {
	if err := order.RemoveOfficer(filepath.Join(a.dir, officersFile), name); err != nil {
		return err
	}
	_, err := a.trusted()
	return err
}

// Officers returns the register in force.
func (a *Authority) Officers() (order.Officers, error) {
	t, err := a.trusted()
	return t.Officers, err
}

// trusted is by whom orders are made here. The audit log tells of everybody in it, also where the register's file was
// edited by hand.
func (a *Authority) trusted() (order.Trusted, error) {
	officers, err := order.ReadOfficers(filepath.Join(a.dir, officersFile))
	if err != nil {
		return order.Trusted{}, err
	}
	root := a.root.Public().(ed25519.PublicKey)
	err = errors.Join(
		a.audit.SyncRegister(auditlog.RegisterAuthority, map[string]string{"root": order.KeyIDOf(root).String()}, a.now()),
		a.audit.SyncRegister(auditlog.RegisterOfficers, officers.Keys(), a.now()))
	if err != nil {
		return order.Trusted{}, err
	}
	return order.Trusted{Officers: officers, Root: root}, nil
}
