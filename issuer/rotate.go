package issuer

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/protocol/token"
)

// RotateKey makes the next signing key and returns it. It signs nothing until [Registers.ActivateKey] has seen it in a
// trust list. Keys that have ended are destroyed.
func (r Registers) RotateKey() (SigningKey, error) {
	var made SigningKey
	secretDir := SecretDir(r.Dir, r.SecretDir)
	var kept signingKeys
	err := r.changeKeys(func(keys signingKeys) (signingKeys, error) {
		if i := slices.IndexFunc(keys.Keys, SigningKey.waits); i >= 0 {
			return signingKeys{}, fmt.Errorf("key %s is made already: have it put on the trust list, then run keys activate", keys.Keys[i].ID())
		}
		var err error
		if made, err = makeSigningKey(secretDir, r.Now(), durable.Disk{}); err != nil {
			return signingKeys{}, err
		}
		kept = keys.withoutEnded(r.Now())
		kept.Keys = append(kept.Keys, made)
		return kept, nil
	})
	if err == nil {
		err = kept.erasePrivate(secretDir)
	}
	if err != nil {
		return SigningKey{}, err
	}
	return made, nil
}

// ActivateKey puts the next signing key to use, if list, which must be verified, has it: in a week, when gates have had time
// to get the list; a day before the last key ends, if that is sooner; or, with atOnce, now.
func (r Registers) ActivateKey(list token.TrustList, atOnce bool) (SigningKey, error) {
	about, err := readAbout(r.Dir)
	if err != nil {
		return SigningKey{}, err
	}
	var next SigningKey
	err = r.changeKeys(func(keys signingKeys) (signingKeys, error) {
		i := slices.IndexFunc(keys.Keys, SigningKey.waits)
		if i < 0 {
			return signingKeys{}, errors.New("no key waits to be put to use: make one with keys rotate")
		}
		if !listed(list, about.Name, keys.Keys[i]) {
			return signingKeys{}, fmt.Errorf("trust list %d does not have key %s of issuer %s: gates would refuse its codes",
				list.Version, keys.Keys[i].ID(), about.Name)
		}
		now := r.Now().UTC().Truncate(time.Second)
		from := now.Add(publishLead)
		if last := keys.end().Add(-24 * time.Hour); last.Before(from) {
			from = last
		}
		if atOnce || from.Before(now) {
			from = now
		}
		keys.Keys[i].From = from
		next = keys.Keys[i]
		return keys, nil
	})
	if err != nil {
		return SigningKey{}, err
	}
	return next, nil
}

// waits reports whether the key has not been put to use.
func (k SigningKey) waits() bool { return k.From.IsZero() }

// listed reports whether a trust list has an issuer's key, for as long as the issuer goes by it.
func listed(list token.TrustList, issuer string, k SigningKey) bool {
	for _, i := range list.Issuers {
		for _, key := range i.Keys {
			if i.Name == issuer && key.Public.Equal(k.Public) && !key.NotBefore.After(k.NotBefore) && !key.NotAfter.Before(k.NotAfter) {
				return true
			}
		}
	}
	return false
}

func (r Registers) changeKeys(f func(signingKeys) (signingKeys, error)) error {
	return r.change(func(registers) error {
		keys, err := readSigning(r.Dir)
		if err != nil {
			return err
		}
		if keys, err = f(keys); err != nil {
			return err
		}
		return keys.write(r.Dir, durable.Disk{})
	})
}

// KeyStatus is one signing key as the operator sees it.
type KeyStatus struct {
	SigningKey
	State string // "waits", "comes", "signs", "old" or "ended"
}

// Keys returns the signing keys, oldest first.
func (r Registers) Keys() ([]KeyStatus, error) {
	keys, err := readSigning(r.Dir)
	if err != nil {
		return nil, err
	}
	now := r.Now()
	current, _ := keys.in(now)
	var all []KeyStatus
	for _, k := range keys.Keys {
		state := "old"
		switch {
		case now.After(k.NotAfter):
			state = "ended"
		case k.waits():
			state = "waits"
		case now.Before(k.From):
			state = "comes"
		case k.ID() == current.ID():
			state = "signs"
		}
		all = append(all, KeyStatus{k, state})
	}
	return all, nil
}
