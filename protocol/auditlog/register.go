package auditlog

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Registers whose changes are entries of kind KindRegister.
const (
	RegisterOfficers  = "officers"  // of the health authority, whose orders are obeyed
	RegisterAuthority = "authority" // the root that certifies recipients of orders
	RegisterTrust     = "trust"     // the scheme operator's root
	RegisterManagers  = "managers"  // tokens of facilities' managers
	RegisterTokens    = "tokens"    // tokens of those who register holders at an issuer
	RegisterKeys      = "keys"      // signing keys of an issuer
)

// registers is what the entries of a log say of each register: names and the keys that belong to them.
type registers map[string]map[string]string

// take brings the state up to an entry.
func (r registers) take(e Entry) {
	if e.Kind != KindRegister {
		return
	}
	if r[e.Register] == nil {
		r[e.Register] = map[string]string{}
	}
	if e.Removed {
		delete(r[e.Register], e.Name)
	} else {
		r[e.Register][e.Name] = e.Key
	}
}

// registersOf reads the state from signed entries.
func registersOf(entries []byte) (registers, error) {
	r := registers{}
	for i, leaf := range Leaves(entries) {
		e, err := ParseEntry(leaf)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
		r.take(e)
	}
	return r, nil
}

// changes are the entries that bring a register of that state to inForce, by name; a key that is replaced is removed first.
func (r registers) changes(register string, inForce map[string]string, at time.Time) (all []Entry) {
	logged := r[register]
	for _, name := range slices.Sorted(maps.Keys(logged)) {
		if key, stands := inForce[name]; !stands || key != logged[name] {
			all = append(all, Entry{Kind: KindRegister, At: at, Register: register, Name: name, Key: logged[name], Removed: true})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(inForce)) {
		if key, stands := logged[name]; !stands || key != inForce[name] {
			all = append(all, Entry{Kind: KindRegister, At: at, Register: register, Name: name, Key: inForce[name]})
		}
	}
	return all
}

// SyncRegister makes the log tell of a register as it is in force, each name with the identifier of its key: what was added
// or removed since the log last told of it becomes an entry each. A party calls it before it goes by a register, so that no
// change has an effect that the log does not have, whatever made the change.
func (l *Log) SyncRegister(register string, inForce map[string]string, at time.Time) error {
	if register == "" {
		return errors.New("a register without a name")
	}
	l.syncing.Lock()
	defer l.syncing.Unlock()
	for _, e := range l.registerChanges(register, inForce, at) {
		if _, err := l.Append(e); err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) registerChanges(register string, inForce map[string]string, at time.Time) []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.registers.changes(register, inForce, at)
}
