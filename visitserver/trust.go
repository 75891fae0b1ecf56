package visitserver

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net/http"

	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/publickey"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/wire"
	"github.com/kipass/kipass/visitserver/store"
)

const (
	tableTrust = "trust"
	trustRoot  = "root" // the scheme operator's public key
	trustNow   = "list" // the signed list in force
)

// SetTrustRoot sets the scheme operator's root key, once: to change it a new server is set up.
func (s *Server) SetTrustRoot(ctx context.Context, root ed25519.PublicKey) error {
	if err := publickey.Check(root); err != nil {
		return fmt.Errorf("root key: %w", err)
	}
	if err := s.store.Swap(ctx, store.Change{Table: tableTrust, Key: trustRoot, New: root}); err != nil {
		return fmt.Errorf("setting the root key of the trust list (it can be set once): %w", err)
	}
	return s.logTrustRoot(ctx)
}

func (s *Server) logTrustRoot(ctx context.Context) error {
	root, err := optional(s.store.Get(ctx, tableTrust, trustRoot))
	if err != nil {
		return err
	}
	return s.audit.SyncRegister(auditlog.RegisterTrust, keyOf("root", root), s.now())
}

type storedTrust struct {
	raw     []byte
	version uint64
}

func (s *Server) trustList(ctx context.Context) (storedTrust, error) {
	raw, err := optional(s.store.Get(ctx, tableTrust, trustNow))
	if err != nil || raw == nil {
		return storedTrust{}, err
	}
	root, err := s.store.Get(ctx, tableTrust, trustRoot)
	if err != nil {
		return storedTrust{}, err
	}
	list, err := token.OpenTrustList(root, raw)
	if err != nil {
		return storedTrust{}, fmt.Errorf("trust list in the register: %w", err)
	}
	return storedTrust{raw: raw, version: list.Version}, nil
}

// InstallTrustList takes a list signed by the scheme operator into force and returns its version. Errors wrap
// token.ErrTrustList, and token.ErrRollback if the list held is as new or newer; the very list held is accepted again.
func (s *Server) InstallTrustList(ctx context.Context, raw []byte) (uint64, error) {
	root, err := optional(s.store.Get(ctx, tableTrust, trustRoot))
	if err != nil {
		return 0, err
	}
	if root == nil {
		return 0, fmt.Errorf("no root key is set: run trust-root first")
	}
	list, err := token.OpenTrustList(root, raw)
	if err != nil {
		return 0, err
	}
	held, err := s.trustList(ctx)
	if err != nil {
		return 0, err
	}
	if string(held.raw) == string(raw) {
		return held.version, nil
	}
	if list.Version <= held.version {
		return 0, fmt.Errorf("%w: version %d offered, version %d held: %w",
			token.ErrTrustList, list.Version, held.version, token.ErrRollback)
	}
	e := edit{changes: []store.Change{{Table: tableTrust, Key: trustNow, Old: held.raw, New: raw}}}
	if err := s.issuers.remember(ctx, s, &e, list); err != nil {
		return 0, err
	}
	if err := e.apply(ctx, s.store); err != nil {
		return 0, fmt.Errorf("installing the trust list: %w", err)
	}
	if err := s.issuers.load(ctx, s); err != nil {
		return 0, err
	}
	s.trust.Store(list.Version)
	return list.Version, nil
}

func (s *Server) provision(w http.ResponseWriter, r *http.Request, _ caller, _ *turn) error {
	p, err := s.provisioning(r.Context())
	if err != nil {
		return err
	}
	return answer(w, wire.TypeProvision, p)
}

func (s *Server) provisioning(ctx context.Context) (wire.Provision, error) {
	held, err := s.trustList(ctx)
	if err != nil {
		return wire.Provision{}, err
	}
	seal, until := s.seals.offered()
	return wire.Provision{
		SealKey: seal.key.Public().Bytes(), TrustList: append([]byte{}, held.raw...), Until: until.Start().UnixMilli(),
	}, nil
}
