package issuer

import (
	"crypto/ed25519"
	"time"

	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/token"
)

// Describe returns what a trust list says of the issuer in the folder dir: its name, the address at which the health
// authority reaches it, and the signing keys that have not ended at now. The folder may be in use.
func Describe(dir, url string, now time.Time) (token.Issuer, error) {
	a, err := readAbout(dir)
	if err != nil {
		return token.Issuer{}, err
	}
	keys, err := readSigning(dir)
	if err != nil {
		return token.Issuer{}, err
	}
	told := token.Issuer{Name: a.Name, Display: a.Display, URL: url}
	for _, k := range keys.withoutEnded(now).Keys {
		told.Keys = append(told.Keys, token.IssuerKey{Issuer: a.Name, Public: k.Public, NotBefore: k.NotBefore, NotAfter: k.NotAfter})
	}
	return told, nil
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
