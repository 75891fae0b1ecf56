package uplink

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// parseTerminal reads key and certificate from one PEM text and checks that they belong together and name a terminal.
func parseTerminal(b []byte) (*tls.Certificate, error) {
	c, err := tls.X509KeyPair(b, b)
	if err != nil {
		return nil, fmt.Errorf("terminal's key and certificate: %w", err)
	}
	if c.Leaf == nil {
		if c.Leaf, err = x509.ParseCertificate(c.Certificate[0]); err != nil {
			return nil, fmt.Errorf("terminal's certificate: %w", err)
		}
	}
	if _, _, err := placeOf(c.Leaf); err != nil {
		return nil, err
	}
	return &c, nil
}

// placeOf returns the place a terminal certificate names in its one URI.
func placeOf(c *x509.Certificate) (visit.Facility, visit.Gate, error) {
	if len(c.URIs) != 1 {
		return "", "", fmt.Errorf("terminal's certificate has %d URI names, must have one", len(c.URIs))
	}
	return wire.ParseTerminalURI(c.URIs[0])
}

// request returns a PKCS #10 certificate request (RFC 2986) that proves possession of the key. It names nothing: the
// server knows from the code, or from the certificate in use, which terminal asks.
func request(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate request: %w", err)
	}
	return der, nil
}

// checkIssued tells whether a certificate is one for this key and this place.
func checkIssued(der []byte, key *ecdsa.PrivateKey, f visit.Facility, g visit.Gate) error {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("issued certificate: %w", err)
	}
	if !key.PublicKey.Equal(c.PublicKey) {
		return fmt.Errorf("issued certificate is for another key")
	}
	cf, cg, err := placeOf(c)
	if err != nil {
		return fmt.Errorf("issued certificate: %w", err)
	}
	if cf != f || cg != g {
		return fmt.Errorf("issued certificate is for facility %s, gate %s; this gate is configured as facility %s, gate %s", cf, cg, f, g)
	}
	return nil
}

func checkProvision(p wire.Provision) error {
	if _, err := visit.ParseSealPublicKey(p.SealKey); err != nil {
		return fmt.Errorf("provision: %w", err)
	}
	if len(p.TrustList) == 0 {
		return fmt.Errorf("provision without a trust list")
	}
	return nil
}

// renewAt returns when a certificate is to be renewed: after two thirds of its life and up to a twenty-fourth more, so
// that gates enrolled together do not renew together. It depends on the certificate alone.
func renewAt(c *x509.Certificate) time.Time {
	life := c.NotAfter.Sub(c.NotBefore)
	var spread time.Duration
	if raw := c.Signature; len(raw) > 0 {
		spread = life / 24 * time.Duration(raw[len(raw)-1]) / 256
	}
	return c.NotBefore.Add(life * 2 / 3).Add(spread)
}

// renewIn returns for how long a certificate need not be renewed at now. One that begins much later than that was made by a
// clock that was ahead, if now is known to be right.
func renewIn(c *x509.Certificate, now time.Time, known bool) time.Duration {
	if known && now.Add(maxEarly).Before(c.NotBefore) {
		return 0
	}
	return renewAt(c).Sub(now)
}
