package issuer

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/kipass/kipass/internal/keyfile"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/order"
)

// registers are files of the folder that the operator's commands write. A running issuer reads them anew whenever it goes
// by one, and before it does, its audit log tells of every change since: also of one made by hand.
type registers struct{ dir string }

func (r registers) officersPath() string { return filepath.Join(r.dir, officersFile) }
func (r registers) rootPath() string     { return filepath.Join(r.dir, authorityFile) }
func (r registers) tokensPath() string   { return filepath.Join(r.dir, tokensFile) }

// sync makes the audit log tell of all registers as they stand, and returns whose orders are obeyed.
func (r registers) sync(audit *auditlog.Log, now time.Time) (order.Trusted, error) {
	officers, err := order.ReadOfficers(r.officersPath())
	if err != nil {
		return order.Trusted{}, err
	}
	root, err := order.ReadRoot(r.rootPath())
	if err != nil {
		return order.Trusted{}, err
	}
	roots := map[string]string{}
	if root != nil {
		roots["root"] = order.KeyIDOf(root).String()
	}
	tokens, err := readTokens(r.tokensPath())
	if err != nil {
		return order.Trusted{}, err
	}
	keys, err := readSigning(r.dir)
	if err != nil {
		return order.Trusted{}, err
	}
	err = errors.Join(
		audit.SyncRegister(auditlog.RegisterOfficers, officers.Keys(), now),
		audit.SyncRegister(auditlog.RegisterAuthority, roots, now),
		audit.SyncRegister(auditlog.RegisterTokens, tokens.keys(), now),
		audit.SyncRegister(auditlog.RegisterKeys, keys.ids(), now))
	if err != nil {
		return order.Trusted{}, err
	}
	return order.Trusted{Officers: officers, Root: root}, nil
}

// Registers are the registers of the issuer in a folder, for the operator's commands. The folder may be in use.
type Registers struct {
	Dir, SecretDir string // as of [Open]
	Now            func() time.Time
}

// change makes a change of a register and logs it; a running issuer, which has the log open, logs it itself, before it
// goes by it and whenever somebody reads the log.
func (r Registers) change(f func(registers) error) error {
	about, err := readAbout(r.Dir)
	if err != nil {
		return err
	}
	logKey, err := keyfile.ReadEd25519(filepath.Join(SecretDir(r.Dir, r.SecretDir), logKeyFile))
	if err != nil {
		return fmt.Errorf("the audit log's key is needed to log the change: %w", err)
	}
	if err := f(registers{r.Dir}); err != nil {
		return err
	}
	audit, err := auditlog.Open(filepath.Join(r.Dir, "audit"), logKey, about.auditOrigin())
	if errors.Is(err, auditlog.ErrInUse) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = registers{r.Dir}.sync(audit, r.Now())
	return errors.Join(err, audit.Close())
}

// AddOfficer adds an officer whose orders are obeyed from now on.
func (r Registers) AddOfficer(o order.Officer) error {
	return r.change(func(files registers) error { return order.AppendOfficer(files.officersPath(), o) })
}

// RemoveOfficer ends an officer's authority from now on.
func (r Registers) RemoveOfficer(name string) error {
	return r.change(func(files registers) error { return order.RemoveOfficer(files.officersPath(), name) })
}

// Officers returns the register of officers.
func (r Registers) Officers() (order.Officers, error) {
	return order.ReadOfficers(registers{r.Dir}.officersPath())
}

// SetAuthorityRoot sets the key with which the health authority certifies recipients of orders, in place of the one that
// may be set.
func (r Registers) SetAuthorityRoot(root ed25519.PublicKey) error {
	return r.change(func(files registers) error { return order.WriteRoot(files.rootPath(), root) })
}
