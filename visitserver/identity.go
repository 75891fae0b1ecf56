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
	"math/big"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/kipass/kipass/uplink/wire"
	"github.com/kipass/kipass/visit"
)

const (
	authorityLife   = 20 * 365 * 24 * time.Hour
	terminalLife    = 365 * 24 * time.Hour
	serverLife      = 90 * 24 * time.Hour
	serverRenew     = 30 * 24 * time.Hour
	backdate        = time.Hour // for gates whose clock lags
	masterKeySize   = 32
	mostHosts       = 64
	serialBits      = 127
	commonAuthority = "kipass visit server"
)

// Identity is the server's own secrets: its two certificate authorities, the key visits are sealed to, and the key that
// signs the audit log.
type Identity struct {
	Server   Authority // signs the server's own certificate
	Terminal Authority // signs terminals' certificates
	Seal     visit.SealPrivateKey
	Log      ed25519.PrivateKey
	Hosts    []string // DNS names and IP addresses of the server
}

// NewIdentity makes all secrets anew. hosts are DNS names and IP addresses.
func NewIdentity(hosts []string, now time.Time) (*Identity, error) {
	if len(hosts) == 0 || len(hosts) > mostHosts {
		return nil, fmt.Errorf("%d host names, want 1 to %d", len(hosts), mostHosts)
	}
	id := &Identity{Hosts: hosts}
	var err error
	if id.Server, err = newAuthority(commonAuthority, now); err != nil {
		return nil, err
	}
	if id.Terminal, err = newAuthority(commonAuthority+" terminals", now); err != nil {
		return nil, err
	}
	if id.Seal, err = visit.GenerateSealKey(); err != nil {
		return nil, err
	}
	if _, id.Log, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return nil, fmt.Errorf("making the audit log's key: %w", err)
	}
	return id, nil
}

// Authority is a certificate authority with an ECDSA P-256 key.
type Authority struct {
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey
}

func newAuthority(name string, now time.Time) (Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Authority{}, fmt.Errorf("making the key of %s: %w", name, err)
	}
	template := &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return Authority{}, fmt.Errorf("making the certificate of %s: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return Authority{}, fmt.Errorf("making the certificate of %s: %w", name, err)
	}
	return Authority{Cert: cert, Key: key}, nil
}

func newSerial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		panic(err) // rand.Reader never fails
	}
	return n.Add(n, big.NewInt(1))
}

// issue signs a terminal's certificate. The request's subject and extensions are ignored: only its key counts.
func (a Authority) issue(t terminalName, csr *x509.CertificateRequest, now time.Time) (*x509.Certificate, error) {
	uri := wire.TerminalURI(t.facility, t.gate)
	return a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: t.String()}, NotBefore: now.Add(-backdate), NotAfter: now.Add(terminalLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs: []*url.URL{uri},
	}, csr.PublicKey)
}

func (a Authority) sign(template *x509.Certificate, public any) (*x509.Certificate, error) {
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

// TLS returns the server's side of TLS 1.3. The server's certificate is made from its authority at start and again
// before it ends; terminals' certificates are asked for here and judged in the handlers, which can say what is wrong.
func (id *Identity) TLS(now func() time.Time) *tls.Config {
	var mu sync.Mutex
	var held *tls.Certificate
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ClientAuth: tls.RequestClientCert,
		NextProtos: []string{"http/1.1"},
		Time:       now,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			mu.Lock()
			defer mu.Unlock()
			if held != nil && now().Before(held.Leaf.NotAfter.Add(-serverRenew)) {
				return held, nil
			}
			fresh, err := id.serverCertificate(now())
			if err != nil {
				return nil, err
			}
			held = fresh
			return held, nil
		},
	}
}

func (id *Identity) serverCertificate(now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the server's key: %w", err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: id.Hosts[0]}, NotBefore: now.Add(-backdate), NotAfter: now.Add(serverLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range id.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	cert, err := id.Server.sign(template, key.Public())
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{cert.Raw, id.Server.Cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}
