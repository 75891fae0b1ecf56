package token

import (
	"crypto/ed25519"
	"fmt"
	"time"
)

// Sign makes the text of a code, 227 to 250 characters of the QR alphanumeric set. issuer is the short name; iat is cut
// to whole seconds; cti is made by the issuer. The error says which argument is wrong.
func Sign(key ed25519.PrivateKey, issuer string, iat time.Time, cti CTI) (string, error) {
	if !validIssuer(issuer) {
		return "", fmt.Errorf("issuer %q: must be 1 to 16 of a-z, 0-9 and '-'", issuer)
	}
	sec := iat.Unix()
	if sec <= 0 || sec > maxTime {
		return "", fmt.Errorf("time of issue %d is out of range", sec)
	}
	payload, err := encMode.Marshal(claims{Issuer: issuer, Exp: sec + lifetimeSeconds, Iat: sec, CTI: cti[:]})
	if err != nil {
		return "", fmt.Errorf("encoding claims: %w", err)
	}
	raw, err := sign1(key, payload)
	if err != nil {
		return "", err
	}
	return string(encodeBase45([]byte(Prefix), raw)), nil
}
