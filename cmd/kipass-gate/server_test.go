package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

const (
	facility = visit.Facility("cafe-7")
	gateName = visit.Gate("door-1")
	oneTime  = "K7Q2-99XA"
)

// central is a visit server as far as one gate sees it, with a scheme operator and an issuer behind it.
type central struct {
	t      *testing.T
	ca     *x509.Certificate
	caKey  *ecdsa.PrivateKey
	issuer ed25519.PrivateKey
	root   ed25519.PublicKey
	list   []byte
	seal   visit.SealPrivateKey
	url    string

	mu     sync.Mutex
	stored uint64
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newCentral(t *testing.T) *central {
	c := &central{t: t}
	root, key, err := ed25519.GenerateKey(nil)
	check(t, err)
	c.root = root
	public, private, err := ed25519.GenerateKey(nil)
	check(t, err)
	c.issuer = private
	now := time.Now().Truncate(time.Second)
	c.list, err = token.SignTrustList(key, token.TrustList{
		Version: 1, IssuedAt: now.Add(-time.Hour), Expires: now.Add(time.Hour),
		Issuers: []token.Issuer{{Name: "naver", Display: "naver", Keys: []token.IssuerKey{
			{Issuer: "naver", Public: public, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)},
		}}},
	})
	check(t, err)
	c.seal, err = visit.GenerateSealKey()
	check(t, err)

	c.caKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	der := c.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, &c.caKey.PublicKey)
	c.ca, err = x509.ParseCertificate(der)
	check(t, err)
	server, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	terminals := x509.NewCertPool()
	terminals.AddCert(c.ca)
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+wire.PathEnrol, c.enrol)
	mux.HandleFunc("POST "+wire.PathVisits, c.take)
	mux.HandleFunc("POST "+wire.PathHeartbeat, func(w http.ResponseWriter, _ *http.Request) { c.receipt(w, visit.Settlement{}) })
	s := httptest.NewUnstartedServer(mux)
	s.TLS = &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: terminals,
		Certificates: []tls.Certificate{{
			Certificate: [][]byte{c.sign(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, &server.PublicKey)}, PrivateKey: server,
		}},
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	c.url = s.URL
	return c
}

func (c *central) sign(template *x509.Certificate, key *ecdsa.PublicKey) []byte {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	check(c.t, err)
	template.SerialNumber, template.NotBefore, template.NotAfter = serial, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent := c.ca
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, c.caKey)
	check(c.t, err)
	return der
}

// caFile writes the certificate of the authority into dir.
func (c *central) caFile(dir string) string {
	path := filepath.Join(dir, "ca.pem")
	check(c.t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.ca.Raw}), 0o600))
	return path
}

func (c *central) code(age time.Duration) string {
	var cti token.CTI
	rand.Read(cti[:])
	text, err := token.Sign(c.issuer, "naver", time.Now().Add(-age), cti)
	check(c.t, err)
	return text
}

func (c *central) holds() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stored
}

func (c *central) enrol(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	req, err := wire.Decode[wire.EnrolRequest](body)
	if err != nil || req.Code != oneTime {
		c.t.Errorf("enrolment with a wrong code: %v", err)
		return
	}
	csr, err := x509.ParseCertificateRequest(req.CSR)
	if err != nil {
		c.t.Error(err)
		return
	}
	der := c.sign(&x509.Certificate{
		URIs: []*url.URL{wire.TerminalURI(facility, gateName)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, csr.PublicKey.(*ecdsa.PublicKey))
	c.answer(w, wire.TypeEnrolment, wire.Enrolment{Certificate: der, Provision: wire.Provision{SealKey: c.seal.Public().Bytes(), TrustList: c.list}})
}

func (c *central) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	b, err := wire.DecodeBatch(body)
	if err != nil || len(r.TLS.VerifiedChains) == 0 {
		c.t.Errorf("a batch that is none, or of nobody: %v", err)
		return
	}
	c.mu.Lock()
	c.stored = b.Segment.Through()
	c.mu.Unlock()
	c.receipt(w, visit.Settlement{Journal: b.Segment.Journal, Through: b.Segment.Through()})
}

func (c *central) receipt(w http.ResponseWriter, s visit.Settlement) {
	c.answer(w, wire.TypeReceipt, wire.Receipt{Settled: s, ServerTime: time.Now().UnixMilli(), Trust: 1, SealKey: c.seal.Public().ID(), Gather: 10})
}

func (c *central) answer(w http.ResponseWriter, contentType string, m any) {
	b, err := wire.Encode(m)
	if err != nil {
		c.t.Error(err)
	}
	w.Header().Set("Content-Type", contentType)
	_, _ = w.Write(b)
}
