package token

import (
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/veraison/go-cose"
)

// Sign makes the text of a code, about 230 characters of the QR alphanumeric set. issuer is the short name; iat is cut
// to whole seconds; cti is made by the issuer.
func Sign(key ed25519.PrivateKey, issuer string, iat time.Time, cti CTI) (string, error) {
	if !validIssuer(issuer) {
		return "", fmt.Errorf("issuer %q: must be 1 to 16 of a-z, 0-9 and '-'", issuer)
	}
	sec := iat.Unix()
	if sec <= 0 || sec > maxIat {
		return "", fmt.Errorf("time of issue %d is out of range", sec)
	}
	payload, err := encMode.Marshal(claims{Issuer: issuer, Exp: sec + int64(Lifetime/time.Second), Iat: sec, CTI: cti[:]})
	if err != nil {
		return "", fmt.Errorf("encoding claims: %w", err)
	}
	raw, err := sign1(key, payload)
	if err != nil {
		return "", err
	}
	return Prefix + string(encodeBase45(nil, raw)), nil
}

// sign1 returns payload as a tagged COSE_Sign1 with the one protected header codes and trust lists share.
func sign1(key ed25519.PrivateKey, payload []byte) ([]byte, error) {
	pub, ok := key.Public().(ed25519.PublicKey)
	if !ok || len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("signing key of %d bytes, must be %d", len(key), ed25519.PrivateKeySize)
	}
	signer, err := cose.NewSigner(cose.AlgorithmEdDSA, key)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	kid := KeyID(pub)
	msg := cose.NewSign1Message()
	msg.Payload = payload
	msg.Headers.RawProtected = protectedHeader(kid)
	msg.Headers.Protected = cose.ProtectedHeader{
		cose.HeaderLabelAlgorithm: cose.AlgorithmEdDSA,
		cose.HeaderLabelKeyID:     kid[:],
	}
	if err := msg.Sign(nil, nil, signer); err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return msg.MarshalCBOR()
}
