package visitserver

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/kipass/kipass/protocol/token"
)

const tableIssuer = "issuer" // by short name: every issuer that was ever in a trust list in force here

// issuerRow tells in which trust list an issuer stood first.
type issuerRow struct {
	Since uint64 `json:"since"` // version of the list
}

// issuers are the short names of all issuers that were ever in a trust list in force here: visits of one that has been
// removed since may still be on their way. None means that no list was ever installed, and nothing can be told.
type issuers struct{ names atomic.Pointer[[]string] }

// ever reports whether an issuer was in a trust list at any time.
func (i *issuers) ever(name string) bool {
	names := *i.names.Load()
	if len(names) == 0 {
		return true
	}
	_, found := slices.BinarySearch(names, name)
	return found
}

// load reads the history.
func (i *issuers) load(ctx context.Context, s *Server) error {
	var names []string
	err := each(ctx, s, tableIssuer, "", func(name string, _ issuerRow) error {
		names = append(names, name)
		return nil
	})
	if err != nil {
		return err
	}
	slices.Sort(names)
	i.names.Store(&names)
	return nil
}

// remember puts the issuers of a list that comes into force into the history with e.
func (i *issuers) remember(ctx context.Context, s *Server, e *edit, list token.TrustList) error {
	for _, issuer := range list.Issuers {
		raw, err := optional(s.store.Get(ctx, tableIssuer, issuer.Name))
		if err != nil {
			return err
		}
		if raw == nil {
			e.put(tableIssuer, issuer.Name, nil, issuerRow{Since: list.Version})
		}
	}
	return nil
}
