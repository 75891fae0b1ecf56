package fakevisits

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"net/http"
	"net/url"
	"time"

	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// Issue makes a terminal certificate, DER, for a place and a key. It may be called by any goroutine.
type Issue func(f visit.Facility, g visit.Gate, key crypto.PublicKey) []byte

// terminalLife is how long terminal certificates are valid; they begin an hour before they are made.
const terminalLife = 90 * 24 * time.Hour

// terminal is an [Issue] that does what it should.
func (s *Server) terminal(f visit.Facility, g visit.Gate, key crypto.PublicKey) []byte {
	return s.Sign(&x509.Certificate{URIs: []*url.URL{wire.TerminalURI(f, g)}}, key)
}

// Sign completes a terminal's certificate, signs it and returns its DER. A template without times gets the usual ones.
func (s *Server) Sign(template *x509.Certificate, key crypto.PublicKey) []byte {
	if template.NotBefore.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(terminalLife)
	}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	c, err := s.CA.Sign(template, key)
	if err != nil {
		s.t.Errorf("fake visit server: %v", err)
		return nil
	}
	return c.Raw
}

// enrol gives a certificate for the code. A used code is answered again for the same key, as protocol/wire/SPEC.md asks.
func (s *Server) enrol(w http.ResponseWriter, req wire.EnrolRequest) {
	key := s.requested(req.CSR)
	raw, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		s.t.Errorf("fake visit server: %v", err)
	}
	s.mu.Lock()
	good := req.Code == s.code && (s.codeKey == nil || bytes.Equal(s.codeKey, raw))
	if good {
		s.codeKey = raw
	}
	s.mu.Unlock()
	if !good {
		s.Refuse(w, http.StatusForbidden, wire.CodeBadCode, "no such code: "+req.Code)
		return
	}
	s.Answer(w, wire.TypeEnrolment, wire.Enrolment{Certificate: s.Issue(Facility, Gate, key), Provision: s.Provision()})
}

// renew gives another certificate to the terminal that the one in use names.
func (s *Server) renew(w http.ResponseWriter, r *http.Request, req wire.RenewRequest) {
	f, g, err := wire.ParseTerminalURI(r.TLS.PeerCertificates[0].URIs[0])
	if err != nil {
		s.t.Errorf("fake visit server: %v", err)
	}
	s.Answer(w, wire.TypeEnrolment, wire.Enrolment{Certificate: s.Issue(f, g, s.requested(req.CSR)), Provision: s.Provision()})
}

// requested returns the key a certificate request (PKCS #10) proves possession of; a bad one fails the test.
func (s *Server) requested(der []byte) crypto.PublicKey {
	csr, err := x509.ParseCertificateRequest(der)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		s.t.Errorf("fake visit server: %v", err)
		return nil
	}
	return csr.PublicKey
}
