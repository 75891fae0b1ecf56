package visitserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/internal/guard"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

const (
	// SealKeyDays is for how many days gates are to seal visits to one key, at most.
	SealKeyDays = 7

	sealKeyLabel = "kipass visit seal key v1"
	tableSealKey = "seal-key" // by the day from which a key is in use
)

// DeriveSealKey makes the private half of a sealing key of the secret of the day from which it is in use: 32 bytes, the seed
// of the KEM.
func DeriveSealKey(s daykey.Secret) (visit.SealPrivateKey, error) {
	b, err := s.Key(sealKeyLabel)
	if err != nil {
		return visit.SealPrivateKey{}, err
	}
	return visit.ParseSealPrivateKey(b)
}

// sealKeys are the keys that gates seal visits to. Each is named by the day from which gates are given it, and is in use
// until the day of the next. The next is made when one comes into use, so that a backup taken meanwhile holds it before a
// gate seals to it. It is safe for concurrent use.
type sealKeys struct {
	ring *daykey.Ring[visit.SealPrivateKey]
	turn sync.Mutex // held over a change of the folder

	mu    sync.RWMutex
	days  []day.Day // of all keys there are, ascending
	known map[visit.SealKeyID]sealKey
	gone  map[visit.SealKeyID]bool // destroyed
	inUse sealKey                  // what gates are given
	until day.Day                  // when the next is taken into use
}

// sealKey is a key with the day from which it is in use.
type sealKey struct {
	day day.Day
	key visit.SealPrivateKey
}

// SealKeyRow is what the register holds of a sealing key; it outlives the key.
type SealKeyRow struct {
	Key       string     `json:"key"` // its name, visit.SealKeyID in hexadecimal
	Made      time.Time  `json:"made"`
	Destroyed *time.Time `json:"destroyed,omitempty"`
	Entry     uint64     `json:"log,omitempty"` // of the audit log, about its destruction
}

func newSealKeys(ring *daykey.Ring[visit.SealPrivateKey]) *sealKeys {
	return &sealKeys{ring: ring, gone: map[visit.SealKeyID]bool{}}
}

// tend takes the key of today into use and makes the next, where that is due. Should a file not open, or none be written,
// it goes on with what there is; the error tells.
func (k *sealKeys) tend(today day.Day) error {
	k.turn.Lock()
	defer k.turn.Unlock()
	current, err := k.newest(today)
	if err != nil || today-current.day >= SealKeyDays {
		fresh, made := k.ring.Make(today)
		if made != nil && err != nil {
			return fmt.Errorf("no sealing key: %w", errors.Join(err, made))
		}
		if made == nil {
			current = sealKey{today, fresh}
		}
		err = made
	}
	return errors.Join(err, k.prepare(current), k.read(current))
}

// rotate takes a new key into use today, at an operator's word.
func (k *sealKeys) rotate(today day.Day) error {
	k.turn.Lock()
	defer k.turn.Unlock()
	if current, err := k.newest(today); err == nil && current.day == today {
		return fmt.Errorf("the key in use was taken into use today, %v: there is one a day", today)
	}
	fresh, err := k.ring.Make(today)
	if err != nil {
		return fmt.Errorf("making a sealing key: %w", err)
	}
	current := sealKey{today, fresh}
	return errors.Join(k.prepare(current), k.read(current))
}

// newest returns the newest key that opens, of those in use by today.
func (k *sealKeys) newest(today day.Day) (sealKey, error) {
	days, err := k.ring.Days()
	for i := len(days) - 1; i >= 0; i-- {
		if days[i] > today {
			continue
		}
		key, e := k.ring.Key(days[i])
		if e == nil {
			return sealKey{days[i], key}, nil
		}
		err = errors.Join(err, e)
	}
	if err == nil {
		err = daykey.ErrNoKey
	}
	return sealKey{}, err
}

// prepare makes the key that follows current, unless there is one.
func (k *sealKeys) prepare(current sealKey) error {
	days, err := k.ring.Days()
	if err != nil {
		return err
	}
	next := current.day + SealKeyDays
	if slices.ContainsFunc(days, func(d day.Day) bool { return d > current.day && d <= next }) {
		return nil
	}
	if _, err := k.ring.Make(next); err != nil {
		return fmt.Errorf("making the next sealing key: %w", err)
	}
	return nil
}

// read takes the keys of the folder into memory, those set aside and put right since among them. Errors are of keys that
// are left out.
func (k *sealKeys) read(current sealKey) error {
	days, err := k.ring.Days()
	if err != nil {
		return err
	}
	known := map[visit.SealKeyID]sealKey{}
	var errs []error
	for _, d := range days {
		keys, err := k.ring.Keys(d)
		errs = append(errs, err)
		for _, key := range keys {
			known[key.ID()] = sealKey{d, key}
		}
	}
	until := current.day + SealKeyDays
	if i, _ := slices.BinarySearch(days, current.day+1); i < len(days) {
		until = min(until, days[i])
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.days, k.known, k.inUse, k.until = days, known, current, until
	return errors.Join(errs...)
}

// offered returns the key that gates are to seal to, and the day on which another takes its place.
func (k *sealKeys) offered() (sealKey, day.Day) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.inUse, k.until
}

// find returns a key by its name. gone says of one that is not there that it was destroyed.
func (k *sealKeys) find(id visit.SealKeyID) (key sealKey, ok, gone bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	key, ok = k.known[id]
	return key, ok, k.gone[id]
}

// all returns the days of all keys, ascending.
func (k *sealKeys) all() []day.Day {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return slices.Clone(k.days)
}

// destroy destroys the key of a day.
func (k *sealKeys) destroy(d day.Day, ids ...visit.SealKeyID) error {
	k.turn.Lock()
	defer k.turn.Unlock()
	if err := k.ring.Destroy(d); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.days = slices.DeleteFunc(slices.Clone(k.days), func(e day.Day) bool { return e == d })
	for id, key := range k.known {
		if key.day == d {
			ids = append(ids, id)
		}
	}
	for _, id := range ids {
		delete(k.known, id)
		k.gone[id] = true
	}
	return nil
}

// openSealKeys learns which keys were destroyed, and has one in use.
func (s *Server) openSealKeys(ctx context.Context) error {
	entries, err := s.store.List(ctx, tableSealKey, "")
	if err != nil {
		return err
	}
	for _, e := range entries {
		var row SealKeyRow
		d, err := day.Parse(e.Key)
		if err = errors.Join(err, json.Unmarshal(e.Value, &row)); err != nil {
			s.log.Error("row of a sealing key is damaged", "day", e.Key, "error", err)
			continue
		}
		if id, err := visit.ParseSealKeyID(row.Key); err == nil && row.Destroyed != nil {
			s.seals.gone[id] = true
			s.seals.ring.Forbid(d)
		}
	}
	err = s.seals.tend(s.today())
	if key, _ := s.seals.offered(); key.key.ID() == (visit.SealKeyID{}) {
		return err
	}
	if err != nil {
		s.log.Error("sealing keys", "error", err)
	}
	return nil
}

// today is the day by which sealing keys are taken into use: by what is known of the time if the wall clock is behind it,
// for a key of the past would end too early. One that is ahead is gone by, since after weeks off it is right.
func (s *Server) today() day.Day {
	if h := s.guard.Look(); h.Doubt == guard.Behind {
		return day.Of(h.Known)
	}
	return day.Of(s.now())
}

// tendSealKeys has the right key in use, tells the register of new ones, and destroys those whose time is over.
func (s *Server) tendSealKeys(ctx context.Context) {
	before, _ := s.seals.offered()
	err := s.seals.tend(s.today())
	now, until := s.seals.offered()
	if now.key.ID() != before.key.ID() {
		s.log.Info("another sealing key is in use", "key", now.key.ID().String(), "day", now.day.String(), "until", until.String())
	}
	err = errors.Join(err, s.registerSealKeys(ctx))
	_, destroyed := s.destroySealKeys(ctx, false)
	if err = errors.Join(err, destroyed); err != nil && ctx.Err() == nil {
		s.log.Error("sealing keys", "error", err)
	}
}

// registerSealKeys gives each key its row.
func (s *Server) registerSealKeys(ctx context.Context) error {
	s.sealRows.Lock()
	defer s.sealRows.Unlock()
	var e edit
	for _, d := range s.seals.all() {
		key, err := s.seals.ring.Key(d)
		if err != nil {
			continue // told by tend
		}
		raw, err := optional(s.store.Get(ctx, tableSealKey, d.String()))
		if err != nil {
			return err
		}
		var row SealKeyRow
		if id := key.ID().String(); raw == nil || json.Unmarshal(raw, &row) != nil || row.Key != id {
			e.put(tableSealKey, d.String(), raw, SealKeyRow{Key: id, Made: s.now().UTC().Truncate(time.Millisecond)})
		}
	}
	if len(e.changes) == 0 {
		return nil
	}
	return e.apply(ctx, s.store)
}
