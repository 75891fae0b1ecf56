package visitserver

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/kipass/kipass/internal/authority"
	"github.com/kipass/kipass/protocol/wire"
)

const (
	terminalLife    = 365 * 24 * time.Hour // by default
	masterKeySize   = 32
	maxHosts        = 64
	commonAuthority = "kipass visit server"
)

// Identity is the server's own secrets: its two certificate authorities, and the key that signs the audit log.
type Identity struct {
	Server   authority.CA       // signs the server's own certificate
	Terminal authority.CA       // signs terminals' certificates
	LogKey   ed25519.PrivateKey // signs the audit log's checkpoints
	Hosts    []string           // DNS names and IP addresses of the server
}

// NewIdentity makes all secrets anew. hosts are DNS names and IP addresses.
func NewIdentity(hosts []string, now time.Time) (*Identity, error) {
	if len(hosts) == 0 || len(hosts) > maxHosts {
		return nil, fmt.Errorf("%d host names, want 1 to %d", len(hosts), maxHosts)
	}
	id := &Identity{Hosts: hosts}
	var err error
	if id.Server, err = authority.New(commonAuthority, now); err != nil {
		return nil, err
	}
	if id.Terminal, err = authority.New(commonAuthority+" terminals", now); err != nil {
		return nil, err
	}
	if _, id.LogKey, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return nil, fmt.Errorf("making the audit log's key: %w", err)
	}
	return id, nil
}

// issue signs a terminal's certificate, good for life. The request's subject and extensions are ignored: only its key counts.
func issue(a authority.CA, t terminalName, csr *x509.CertificateRequest, now time.Time, life time.Duration) (*x509.Certificate, error) {
	uri := wire.TerminalURI(t.facility, t.gate)
	return a.Sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: t.String()}, NotBefore: now.Add(-authority.Backdate), NotAfter: now.Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs: []*url.URL{uri},
	}, csr.PublicKey)
}

var errCSR = errors.New("must be a PKCS #10 request, self-signed with an ECDSA P-256 key")

// parseCSR reads a request and checks that its sender holds the key.
func parseCSR(der []byte) (*x509.CertificateRequest, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", errCSR)
	}
	key, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() || csr.CheckSignature() != nil {
		return nil, fmt.Errorf("certificate request: %w", errCSR)
	}
	return csr, nil
}

// TLS returns the server's side of TLS 1.3. The server's certificate is made from its authority; terminals' certificates
// are asked for here and judged in the handlers, which can say what is wrong.
func (id *Identity) TLS(now func() time.Time, times authority.Times) (*tls.Config, error) {
	cert, err := id.Server.ServerCertificate(id.Hosts, times)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		ClientAuth:     tls.RequestClientCert,
		NextProtos:     []string{"http/1.1"},
		Time:           now,
		GetCertificate: cert.Get,
	}, nil
}
