package embedded

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/visitserver/store"
)

// Rows lie in one database and the register in another, and each flush of the disk costs what all else of a request does
// together. So what changes in the register with rows is carried by them: it is written into the day's database in one
// commit with the rows, and, when that is durable, into the register without a flush of its own. A flush of the register
// for anything else makes it durable there too, since its log is written in order. What a power cut takes from the register
// is put back from the days when the store is opened: see [Store.recover].
//
// Which of two values that were carried is the later tells their order, a number that rises since the store was opened; that
// of the last one to arrive stands in the register beside its value, and stays there when the value is changed alone. A day
// is marked in the register, durably, before it carries anything. What it carried for an earlier opening, of which the
// register has the generation, counts no more.

// accountSize is about what an account takes in a batch.
const accountSize = 1024

// carriage is what rows carry.
type carriage struct {
	changes []store.Change
	order   uint64
}

// carry adds changes to a batch of a day that is marked, and reserves their values until unload, so that no other change comes
// between.
func (s *Store) carry(b *pebble.Batch, changes []store.Change) (carriage, error) {
	s.swap.Lock()
	defer s.swap.Unlock()
	if err := s.compare(changes); err != nil {
		return carriage{}, fmt.Errorf("changing %s: %w", changes[0].Table, err)
	}
	s.order++
	with := carriage{changes: changes, order: s.order}
	for _, c := range changes {
		value := carriedValue{s.generation, with.order, c.New}
		if err := b.Set(registerKey(c.Table, c.Key), value.encode(), nil); err != nil {
			return carriage{}, err
		}
	}
	for _, c := range changes {
		s.reserved[string(registerKey(c.Table, c.Key))] = true
	}
	return with, nil
}

// deliver puts what durable rows of a day have carried into the register, and how many they are.
func (s *Store) deliver(d day.Day, fresh int, with carriage) error {
	b := s.register.NewBatch()
	defer b.Close()
	if fresh > 0 {
		if err := b.Merge(dayKey('n', d), binary.BigEndian.AppendUint64(nil, uint64(fresh)), nil); err != nil {
			return err
		}
	}
	for _, c := range with.changes {
		key := registerKey(c.Table, c.Key)
		order := binary.BigEndian.AppendUint64(nil, with.order)
		if err := errors.Join(setOrDelete(b, key, c.New), b.Set(orderKey(key), order, nil)); err != nil {
			return err
		}
	}
	return b.Commit(pebble.NoSync)
}

// unload frees the values that rows have carried, whether they have arrived or not.
func (s *Store) unload(with carriage) {
	if len(with.changes) == 0 {
		return
	}
	s.swap.Lock()
	defer s.swap.Unlock()
	for _, c := range with.changes {
		delete(s.reserved, string(registerKey(c.Table, c.Key)))
	}
	s.freed.Broadcast()
}

func (s *Store) anyReserved(changes []store.Change) bool {
	if len(s.reserved) == 0 {
		return false
	}
	for _, c := range changes {
		if s.reserved[string(registerKey(c.Table, c.Key))] {
			return true
		}
	}
	return false
}

// mark notes in the register, durably, that a day carries something.
func (s *Store) mark(d day.Day) error {
	s.swap.Lock()
	marked := s.marked[d]
	s.swap.Unlock()
	if marked {
		return nil
	}
	if err := s.register.Set(dayKey('o', d), nil, pebble.Sync); err != nil {
		return fmt.Errorf("marking %v: %w", d, err)
	}
	s.swap.Lock()
	defer s.swap.Unlock()
	s.marked[d] = true
	return nil
}

// recover puts into the register, in one commit, what marked days carry and a power cut has taken from it, and begins another
// generation.
func (s *Store) recover() error {
	var err error
	if s.generation, err = number(s.register, generationKey); err != nil {
		return fmt.Errorf("reading the register's generation: %w", err)
	}
	days, err := s.noted('o')
	if err != nil || len(days) == 0 {
		return err
	}
	newest := map[string]carriedValue{}
	for _, d := range days {
		err := s.use(d, false, func(db *pebble.DB) error {
			if db == nil { // it is retired: then the register was flushed
				return nil
			}
			return collectCarried(db, s.generation, newest)
		})
		if s.unreadable(d, err) {
			continue // what it carries is lost; gates send what the register lacks once more
		}
		if err != nil {
			return fmt.Errorf("reading what %v carries: %w", d, err)
		}
	}
	b := s.register.NewBatch()
	defer b.Close()
	for k, v := range newest {
		held, err := number(s.register, orderKey([]byte(k)))
		if err == nil && held < v.order {
			err = setOrDelete(b, []byte(k), v.value)
		}
		if err != nil {
			return fmt.Errorf("putting back what a day carries: %w", err)
		}
	}
	s.generation++
	err = errors.Join(
		b.DeleteRange([]byte{'o'}, []byte{'o' + 1}, nil), b.DeleteRange([]byte{'s'}, []byte{'s' + 1}, nil),
		b.Set(generationKey, binary.BigEndian.AppendUint64(nil, s.generation), nil), b.Commit(pebble.Sync))
	if err != nil {
		return fmt.Errorf("putting back what days carry: %w", err)
	}
	return nil
}

// noted lists the days of which the register has something in a table, ascending.
func (s *Store) noted(table byte) (days []day.Day, err error) {
	err = scan(context.Background(), s.register, []byte{table}, []byte{table + 1}, func(k, _ []byte) (bool, error) {
		if len(k) != 5 {
			return false, fmt.Errorf("key of %d bytes is damaged", len(k))
		}
		days = append(days, day.Day(binary.BigEndian.Uint32(k[1:])))
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing days in the register: %w", err)
	}
	return days, nil
}

// carriedValue is a value of the register as a day carries it.
type carriedValue struct {
	generation, order uint64
	value             []byte // nil: it is removed
}

// carriedHead is what stands before a value: generation, order, and whether there is one.
const carriedHead = 8 + 8 + 1

func (c carriedValue) encode() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, carriedHead+len(c.value)), c.generation)
	b = binary.BigEndian.AppendUint64(b, c.order)
	if c.value == nil {
		return append(b, 0)
	}
	return append(append(b, 1), c.value...)
}

func decodeCarried(b []byte) (c carriedValue, err error) {
	if len(b) < carriedHead || b[carriedHead-1] > 1 {
		return carriedValue{}, fmt.Errorf("value of %d bytes that a day carries is damaged", len(b))
	}
	c.generation, c.order = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	if b[carriedHead-1] == 1 {
		c.value = append([]byte{}, b[carriedHead:]...)
	}
	return c, nil
}

// collectCarried adds what a day carries of a generation to the newest of each key.
func collectCarried(db *pebble.DB, generation uint64, newest map[string]carriedValue) error {
	return scan(context.Background(), db, []byte{'r'}, []byte{'r' + 1}, func(k, v []byte) (bool, error) {
		c, err := decodeCarried(v)
		if err == nil && c.generation == generation && c.order > newest[string(k)].order {
			newest[string(k)] = c
		}
		return true, err
	})
}

// setOrDelete adds a register's value to a batch, or its removal if it is nil.
func setOrDelete(b *pebble.Batch, key, value []byte) error {
	if value == nil {
		return b.Delete(key, nil)
	}
	return b.Set(key, value, nil)
}
