package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kipass/kipass/visitserver/store"
)

// Get implements store.Register.
func (s *Store) Get(ctx context.Context, table, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	v, err := get(s.register, registerKey(table, key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, fmt.Errorf("%s: %w", table, store.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", table, err)
	}
	return v, nil
}

// List implements store.Register.
func (s *Store) List(ctx context.Context, table, prefix string) (entries []store.Entry, err error) {
	lower := registerKey(table, prefix)
	skip := len(lower) - len(prefix)
	err = scan(ctx, s.register, lower, after(lower), func(k, v []byte) (bool, error) {
		entries = append(entries, store.Entry{Key: string(k[skip:]), Value: bytes.Clone(v)})
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", table, err)
	}
	return entries, nil
}

// Swap implements store.Register. The comparison and the change are one step under a lock; the wait for the disk is not.
func (s *Store) Swap(ctx context.Context, changes ...store.Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(changes) == 0 {
		return nil
	}
	b := s.register.NewBatch()
	defer b.Close()
	if err := s.compareAndApply(b, changes); err != nil {
		return fmt.Errorf("changing %s: %w", changes[0].Table, err)
	}
	if err := b.SyncWait(); err != nil {
		return fmt.Errorf("changing %s: %w", changes[0].Table, err)
	}
	return nil
}

func (s *Store) compareAndApply(b *pebble.Batch, changes []store.Change) error {
	s.swap.Lock()
	defer s.swap.Unlock()
	if err := s.compare(changes); err != nil {
		return err
	}
	for _, c := range changes {
		if err := setOrDelete(b, registerKey(c.Table, c.Key), c.New); err != nil {
			return err
		}
	}
	return s.register.ApplyNoSyncWait(b, pebble.Sync)
}

// compare waits until no rows are on their way with one of the values, and returns an error wrapping store.ErrConflict if
// a value is not the expected one. The caller holds swap.
func (s *Store) compare(changes []store.Change) error {
	for s.anyReserved(changes) {
		s.freed.Wait()
	}
	for _, c := range changes {
		held, err := get(s.register, registerKey(c.Table, c.Key))
		switch {
		case errors.Is(err, pebble.ErrNotFound):
			held = nil
		case err != nil:
			return err
		}
		if (held == nil) != (c.Old == nil) || !bytes.Equal(held, c.Old) {
			return store.ErrConflict
		}
	}
	return nil
}
