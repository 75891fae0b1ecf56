// Package authority is a certificate authority of one program: it makes its own root, signs with it, and keeps the
// program's TLS certificate, short-lived and in memory alone, fresh. Whoever talks to the program trusts that root and no
// other. It is internal because it is how our servers run, not something to build on.
package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"
)

const (
	// Backdate is how long before it is made a certificate becomes valid, for whoever's clock lags.
	Backdate = time.Hour
	// ServerLife is how long a server's certificate is valid; it is made anew 30 days before its end.
	ServerLife = 90 * 24 * time.Hour

	rootLife    = 20 * 365 * 24 * time.Hour
	serverRenew = 30 * 24 * time.Hour
	slack       = 5 * time.Minute // by which clocks may differ from the one that a certificate was made by
	serialBits  = 127
)

// CA is a root certificate and its key, ECDSA P-256.
type CA struct {
	Cert *x509.Certificate
	Key  crypto.Signer
}

// New makes an authority called name, valid for 20 years.
func New(name string, now time.Time) (CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return CA{}, fmt.Errorf("making the key of %s: %w", name, err)
	}
	return NewOf(key, name, now)
}

// NewOf makes an authority called name of a key, valid for 20 years.
func NewOf(key crypto.Signer, name string, now time.Time) (_ CA, err error) {
	a := CA{Key: key, Cert: &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-Backdate), NotAfter: now.Add(rootLife),
		IsCA: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}}
	if a.Cert, err = a.Sign(a.Cert, key.Public()); err != nil {
		return CA{}, fmt.Errorf("making %s: %w", name, err)
	}
	return a, nil
}

// Load takes up an authority from its certificate, DER, and its key.
func Load(cert []byte, key crypto.Signer) (CA, error) {
	c, err := x509.ParseCertificate(cert)
	if err != nil {
		return CA{}, fmt.Errorf("authority's certificate: %w", err)
	}
	if public, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(key.Public()) {
		return CA{}, errors.New("authority's certificate and key do not belong together")
	}
	return CA{Cert: c, Key: key}, nil
}

// Sign completes a template with a random serial number and signs it for a public key.
func (a CA) Sign(template *x509.Certificate, public crypto.PublicKey) (*x509.Certificate, error) {
	template.SerialNumber = newSerial()
	template.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, template, a.Cert, public, a.Key)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate: %w", err)
	}
	return cert, nil
}

func newSerial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		panic(err) // rand.Reader never fails
	}
	return n.Add(n, big.NewInt(1))
}

// Times tells the earliest and the latest time that it may be. Where nothing is in doubt they are one.
type Times func() (earliest, latest time.Time)

// ByOne are the times of a clock that is believed.
func ByOne(now func() time.Time) Times {
	return func() (earliest, latest time.Time) {
		at := now()
		return at, at
	}
}

// ServerCertificate is the certificate of one server, made anew in time. It is valid at each time that it may be, so that a
// server whose clock is wrong, or was, is reached by whoever has the right time. It is safe for concurrent use.
type ServerCertificate struct {
	ca    CA
	hosts []string
	times Times

	mu   sync.Mutex
	held *tls.Certificate
}

// ServerCertificate returns the certificate of a server that is reached under hosts, DNS names and IP addresses, at least
// one. The first certificate is made at once.
func (a CA) ServerCertificate(hosts []string, times Times) (*ServerCertificate, error) {
	if len(hosts) == 0 {
		return nil, errors.New("no host name for the TLS certificate")
	}
	s := &ServerCertificate{ca: a, hosts: hosts, times: times}
	_, err := s.Get(nil)
	return s, err
}

// Get is for tls.Config.GetCertificate. The chain holds the authority's certificate too.
func (s *ServerCertificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	earliest, latest := s.times()
	if s.held != nil && fits(s.held.Leaf, earliest, latest) {
		return s.held, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the server's key: %w", err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: s.hosts[0]}, NotBefore: earliest.Add(-Backdate), NotAfter: latest.Add(ServerLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range s.hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	cert, err := s.ca.Sign(template, key.Public())
	if err != nil {
		return nil, err
	}
	s.held = &tls.Certificate{Certificate: [][]byte{cert.Raw, s.ca.Cert.Raw}, PrivateKey: key, Leaf: cert}
	return s.held, nil
}

// fits reports whether a certificate can be used on. One of a clock that was ahead is not yet valid, or for too long.
func fits(leaf *x509.Certificate, earliest, latest time.Time) bool {
	return !earliest.Before(leaf.NotBefore.Add(Backdate-slack)) &&
		latest.Before(leaf.NotAfter.Add(-serverRenew)) && !leaf.NotAfter.After(latest.Add(ServerLife+slack))
}
