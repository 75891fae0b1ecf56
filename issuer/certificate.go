package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// The issuer is its own TLS authority: whoever talks to it trusts that authority alone. The server's certificate is
// short-lived, kept in memory and made anew in time.
const (
	authorityLife   = 10 * 365 * 24 * time.Hour
	certificateLife = 30 * 24 * time.Hour
)

type authority struct{ certPEM, keyPEM []byte }

func newAuthority(display string, now time.Time) (authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, fmt.Errorf("making the TLS authority: %w", err)
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "kipass issuer " + display},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return authority{}, fmt.Errorf("making the TLS authority: %w", err)
	}
	text, err := keyPEM(key)
	if err != nil {
		return authority{}, err
	}
	return authority{certPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), keyPEM: text}, nil
}

// certificates hands out the server's certificate.
type certificates struct {
	ca    *x509.Certificate
	caKey crypto.Signer
	hosts []string
	now   func() time.Time
	mu    sync.Mutex
	held  *tls.Certificate
	renew time.Time
}

func newCertificates(caPath string, caKey any, hosts []string, now func() time.Time) (*certificates, error) {
	text, err := os.ReadFile(caPath)
	if err != nil {
		return nil, fmt.Errorf("reading the TLS authority: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("reading %s: no PEM block", caPath)
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", caPath, err)
	}
	signer, ok := caKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("the TLS authority's key cannot sign")
	}
	c := &certificates{ca: ca, caKey: signer, hosts: hosts, now: now}
	_, err = c.get(nil)
	return c, err
}

// get implements tls.Config.GetCertificate.
func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if c.held != nil && now.Before(c.renew) {
		return c.held, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the TLS certificate: %w", err)
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: c.hosts[0]},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range c.hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.ca, key.Public(), c.caKey)
	if err != nil {
		return nil, fmt.Errorf("making the TLS certificate: %w", err)
	}
	c.held = &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	c.renew = now.Add(certificateLife / 2)
	return c.held, nil
}
