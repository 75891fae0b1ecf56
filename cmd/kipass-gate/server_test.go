package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/internal/testkit/fakevisits"
	"github.com/kipass/kipass/protocol/token"
)

// issuerName is on the trust list of every scheme.
const issuerName = "naver"

// scheme is what makes codes genuine at a gate: a scheme operator, and one issuer on its trust list.
type scheme struct {
	t      *testing.T
	root   ed25519.PublicKey
	issuer ed25519.PrivateKey
}

// newScheme returns a scheme, and its trust list, signed.
func newScheme(t *testing.T) (s scheme, list []byte) {
	t.Helper()
	root, key, err := ed25519.GenerateKey(nil)
	testkit.Check(t, err)
	public, issuer, err := ed25519.GenerateKey(nil)
	testkit.Check(t, err)
	now := time.Now().Truncate(time.Second)
	list = testkit.Must(token.SignTrustList(key, token.TrustList{
		Version: 1, IssuedAt: now.Add(-time.Hour), Expires: now.Add(time.Hour),
		Issuers: []token.Issuer{{Name: issuerName, Display: issuerName, Keys: []token.IssuerKey{
			{Issuer: issuerName, Public: public, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)},
		}}},
	}))(t)
	return scheme{t, root, issuer}, list
}

// code returns a code of its own, issued some time ago.
func (s scheme) code(age time.Duration) string {
	s.t.Helper()
	var cti token.CTI
	rand.Read(cti[:])
	return testkit.Must(token.Sign(s.issuer, issuerName, time.Now().Add(-age), cti))(s.t)
}

// newServer returns a visit server on loopback that provides a trust list, and the file of its authority's certificate.
func newServer(t *testing.T, list []byte) (s *fakevisits.Server, caFile string) {
	t.Helper()
	s = fakevisits.New(t)
	s.TrustList = list
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.CA.Cert.Raw})
	testkit.Check(t, os.WriteFile(caFile, ca, 0o600))
	return s.Loopback(), caFile
}
