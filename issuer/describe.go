package issuer

import (
	"crypto/ed25519"

	"github.com/kipass/kipass/protocol/auditlog"
)

// Describe returns what the scheme operator needs to know of the issuer in the folder dir. The folder may be in use.
func Describe(dir, secretDir string) (About, ed25519.PublicKey, error) {
	a, err := readAbout(dir)
	if err != nil {
		return About{}, nil, err
	}
	s, err := readSecrets(SecretDir(dir, secretDir))
	if err != nil {
		return About{}, nil, err
	}
	return a, s.signing.Public().(ed25519.PublicKey), nil
}

// AuditKey returns the verifier key (auditlog.VerifierKey) of the issuer's audit log.
func AuditKey(dir, secretDir string) (string, error) {
	a, err := readAbout(dir)
	if err != nil {
		return "", err
	}
	s, err := readSecrets(SecretDir(dir, secretDir))
	if err != nil {
		return "", err
	}
	return auditlog.VerifierKey(a.auditOrigin(), s.logKey.Public().(ed25519.PublicKey))
}
