package visitserver

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/store"
)

const tableManager = "manager" // by hash of the token

// managerRow is one token with which a facility's counts are read.
type managerRow struct {
	Facility visit.Facility `json:"facility"`
	Name     string         `json:"name"` // of who has it, once for a facility; 1 to 32 of a–z, 0–9 and '-'
	Added    time.Time      `json:"added"`
}

func hashToken(token string) string {
	h := sha256.Sum256([]byte("kipass manager " + token))
	return hex.EncodeToString(h[:])
}

// AddManager returns a new token with which a facility's counts can be read. It is kept as a hash only.
func (s *Server) AddManager(ctx context.Context, f visit.Facility, name string) (string, error) {
	if _, err := visit.ParseGate(name); err != nil { // the same rule: public logs show both
		return "", errors.New("name of a manager must be 1 to 32 of a-z, 0-9 and '-'")
	}
	if _, err := s.store.Get(ctx, tableFacility, string(f)); err != nil {
		return "", fmt.Errorf("facility %s: %w", f, err)
	}
	s.managing.Lock()
	defer s.managing.Unlock()
	key, _, err := s.manager(ctx, f, name)
	if err != nil {
		return "", err
	}
	if key != "" {
		return "", fmt.Errorf("facility %s has a manager called %s already: revoke the token first", f, name)
	}
	text := rand.Text()
	var e edit
	e.put(tableManager, hashToken(text), nil, managerRow{Facility: f, Name: name, Added: s.now().UTC()})
	if err := e.apply(ctx, s.store); err != nil {
		return "", err
	}
	if err := s.logManagers(ctx); err != nil {
		return "", err
	}
	return text, nil
}

// RevokeManager ends a token from the next request on.
func (s *Server) RevokeManager(ctx context.Context, f visit.Facility, name string) error {
	s.managing.Lock()
	defer s.managing.Unlock()
	key, raw, err := s.manager(ctx, f, name)
	if err != nil {
		return err
	}
	if key == "" {
		return fmt.Errorf("facility %s has no manager called %s: %w", f, name, store.ErrNotFound)
	}
	var e edit
	e.remove(tableManager, key, raw)
	if err := e.apply(ctx, s.store); err != nil {
		return err
	}
	return s.logManagers(ctx)
}

// Managers returns the names of a facility's managers, each with the identifier that the audit log gives the token.
func (s *Server) Managers(ctx context.Context, f visit.Facility) (map[string]string, error) {
	all := map[string]string{}
	err := each(ctx, s, tableManager, "", func(key string, row managerRow) error {
		if row.Facility == f {
			all[row.Name] = key[:16]
		}
		return nil
	})
	return all, err
}

// manager finds a manager's token; key is "" if there is none.
func (s *Server) manager(ctx context.Context, f visit.Facility, name string) (key string, raw []byte, err error) {
	err = each(ctx, s, tableManager, "", func(k string, row managerRow) error {
		if row.Facility == f && row.Name == name {
			key = k
		}
		return nil
	})
	if err != nil || key == "" {
		return "", nil, err
	}
	raw, err = s.store.Get(ctx, tableManager, key)
	return key, raw, err
}

// logManagers makes the audit log tell of every manager.
func (s *Server) logManagers(ctx context.Context) error {
	all := map[string]string{}
	err := each(ctx, s, tableManager, "", func(key string, row managerRow) error {
		all[string(row.Facility)+"/"+row.Name] = key[:16]
		return nil
	})
	if err != nil {
		return err
	}
	return s.audit.SyncRegister(auditlog.RegisterManagers, all, s.now())
}
