package visitserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/kipass/kipass/visitserver/store"
)

// load reads a register value into v, which stays as it is if there is none; raw is nil then.
func load(ctx context.Context, r store.Register, table, key string, v any) (raw []byte, err error) {
	raw, err = optional(r.Get(ctx, table, key))
	if err != nil || raw == nil {
		return nil, err
	}
	if err := decode(table, raw, v); err != nil {
		return nil, err
	}
	return raw, nil
}

// decode reads a value of a register's table.
func decode(table string, raw []byte, v any) error {
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("reading %s of the register: %w", table, err)
	}
	return nil
}

// optional makes a missing register value nil.
func optional(raw []byte, err error) ([]byte, error) {
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return raw, err
}

// edit gathers changes to the register that are made together or not at all.
type edit struct {
	changes []store.Change
	err     error // the first value that could not be encoded
}

// put sets a value, kept as JSON. old are the bytes that are expected to stand there now; nil: none.
func (e *edit) put(table, key string, old []byte, value any) {
	b, err := json.Marshal(value)
	if err != nil {
		e.err = errors.Join(e.err, fmt.Errorf("encoding %s of the register: %w", table, err))
	}
	e.changes = append(e.changes, store.Change{Table: table, Key: key, Old: old, New: b})
}

// remove ends a value.
func (e *edit) remove(table, key string, old []byte) {
	e.changes = append(e.changes, store.Change{Table: table, Key: key, Old: old})
}

// apply makes the changes, durably. Errors wrap store.ErrConflict where another value stands than is expected.
func (e *edit) apply(ctx context.Context, r store.Register) error {
	if e.err != nil {
		return e.err
	}
	return r.Swap(ctx, e.changes...)
}

// each calls f for every value of a table whose key begins with prefix.
func each[T any](ctx context.Context, s *Server, table, prefix string, f func(key string, row T) error) error {
	entries, err := s.store.List(ctx, table, prefix)
	if err != nil {
		return err
	}
	for _, e := range entries {
		var row T
		if err := decode(table, e.Value, &row); err != nil {
			return err
		}
		if err := f(e.Key, row); err != nil {
			return err
		}
	}
	return nil
}
