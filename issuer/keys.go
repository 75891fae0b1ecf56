package issuer

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/kipass/kipass/internal/daykey"
)

// dayKeys are what one day's data is sealed with, all derived from the day's secret.
type dayKeys struct {
	cti     cipher.AEAD // holder references in codes
	records cipher.AEAD // the issue log and the copies of identities
	account cipher.AEAD // accounts whose last code is of this day
	index   []byte      // HMAC-SHA256 key that hides codes and references used as database keys
}

func (k *dayKeys) blind(kind string, b []byte) []byte {
	h := hmac.New(sha256.New, k.index)
	h.Write([]byte(kind))
	h.Write(b)
	return h.Sum(nil)[:16]
}

func deriveDay(s daykey.Secret) (*dayKeys, error) {
	var k dayKeys
	for _, p := range []struct {
		label string
		aead  *cipher.AEAD
	}{{"cti", &k.cti}, {"records", &k.records}, {"account", &k.account}} {
		var err error
		if *p.aead, err = s.AEAD("kipass issuer " + p.label + " v1"); err != nil {
			return nil, fmt.Errorf("key for %s: %w", p.label, err)
		}
	}
	var err error
	if k.index, err = s.Key("kipass issuer index v1"); err != nil {
		return nil, fmt.Errorf("key for the index: %w", err)
	}
	return &k, nil
}

// keyring keeps one secret per day, in a folder apart from the data.
type keyring = daykey.Ring[*dayKeys]

var errSealed = errors.New("sealed under another key, or damaged")

// unseal opens what k.Seal(nil, nil, plain, context) returned.
func unseal(k cipher.AEAD, sealed, context []byte) ([]byte, error) {
	plain, err := k.Open(nil, nil, sealed, context)
	if err != nil {
		return nil, errSealed
	}
	return plain, nil
}
