package issuer

import (
	"crypto/cipher"
	"errors"

	"github.com/kipass/kipass/protocol/token"
)

// ref is a holder's reference: 16 random bytes, the same in all codes of one account, seen by nobody but the issuer.
type ref [16]byte

// errNotOurs says that a code was not made under the key it was tried with.
var errNotOurs = errors.New("code was not made under this key")

// sealRef makes a cti with a [daykey.Secret.AEAD]: a random 12-byte nonce and AES-256-GCM of the reference, with the
// issuer's short name as additional data. Two codes of one holder have nothing in common. Random nonces allow 2^32 codes a
// day (NIST SP 800-38D section 8.3), eighty for every inhabitant.
func sealRef(day cipher.AEAD, issuer string, r ref) token.CTI {
	return token.CTI(day.Seal(nil, nil, r[:], []byte(issuer)))
}

// openRef is the inverse of sealRef.
func openRef(day cipher.AEAD, issuer string, cti token.CTI) (ref, error) {
	plain, err := day.Open(nil, nil, cti[:], []byte(issuer))
	if err != nil || len(plain) != len(ref{}) {
		return ref{}, errNotOurs
	}
	return ref(plain), nil
}
