// Package fakevisits is a visit server for tests of gates: it keeps visits in memory, each once, answers as
// protocol/wire/SPEC.md asks, and misbehaves when told to. Test files alone import it.
package fakevisits

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/authority"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// The one terminal a new server knows, and the code with which it enrols.
const (
	Facility visit.Facility = "cafe-7"
	Gate     visit.Gate     = "door-1"
	Code                    = "K7Q2-99XA"
)

// A Fault is asked about each request before the server deals with it, and returns true when it has dealt with the
// request itself. It may be called by several goroutines at once.
type Fault func(w http.ResponseWriter, r *http.Request, body []byte) bool

// Server is the visit server. Fields are set before the first request; methods may be called at any time.
type Server struct {
	CA        authority.CA
	Pool      *x509.CertPool // of CA alone
	SealKey   visit.SealPrivateKey
	URL       *url.URL // where gates find it
	Issue     Issue    // makes terminal certificates; New sets one that is right
	TrustList []byte   // signed elsewhere
	CountOnly bool     // visits are counted and not kept
	t         testing.TB

	mu      sync.Mutex
	fault   Fault
	code    string // good for enrolment
	codeKey []byte // SubjectPublicKeyInfo of the key that has used up the code
	trust   uint64
	visits  map[place][]byte
	serials map[string]bool // of terminal certificates seen
	counts  Counts
}

// place is where a sealed record stands.
type place struct {
	journal visit.JournalID
	seq     uint64
}

// Counts is what has happened at a server since it was made.
type Counts struct {
	Connections int
	Batches     int
	Heartbeats  int
	Visits      int // distinct ones
	Conflicts   int // records that came a second time with other bytes
}

// New returns a server that knows its terminal, code and trust list version 1, and serves nowhere yet.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{
		t: t, CA: testkit.Must(authority.New("fake visit server", time.Now()))(t), Pool: x509.NewCertPool(),
		SealKey: testkit.Must(visit.GenerateSealKey())(t), TrustList: []byte("signed elsewhere"),
		code: Code, trust: 1, visits: map[place][]byte{}, serials: map[string]bool{},
	}
	s.Issue = s.terminal
	s.Pool.AddCert(s.CA.Cert)
	return s
}

// Loopback serves on a free port of 127.0.0.1 until the test ends, and sets URL.
func (s *Server) Loopback() *Server {
	s.t.Helper()
	l := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(s.t)
	s.URL = &url.URL{Scheme: "https", Host: l.Addr().String()}
	s.Serve(l, "127.0.0.1")
	return s
}

// Serve answers on a listener, under a certificate for host, until the test ends. A server may serve on several.
func (s *Server) Serve(l net.Listener, host string) {
	s.t.Helper()
	own := testkit.Must(s.CA.ServerCertificate([]string{host}, authority.ByOne(time.Now)))(s.t)
	server := &http.Server{
		Handler: http.HandlerFunc(s.serve),
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS13, GetCertificate: own.Get,
			ClientAuth: tls.RequestClientCert, // judged in serve
		},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				s.count(func(c *Counts) { c.Connections++ })
			}
		},
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.ServeTLS(l, "", "") // ends with ErrServerClosed
	}()
	s.t.Cleanup(func() { _ = server.Close(); <-ended })
}

// serve lets the fault see a request first. All but enrolment and the time ask for a terminal certificate.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, wire.MaxRequest+1))
	if err != nil {
		return // the gate went away
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if r.URL.Path != wire.PathEnrol && r.URL.Path != wire.PathTime && !s.genuine(r) {
		s.Refuse(w, http.StatusUnauthorized, wire.CodeUnauthenticated, "no certificate, or one that has run out")
		return
	}
	s.mu.Lock()
	fault := s.fault
	if len(r.TLS.PeerCertificates) > 0 {
		s.serials[r.TLS.PeerCertificates[0].SerialNumber.String()] = true
	}
	s.mu.Unlock()
	if fault == nil || !fault(w, r, body) {
		s.Handle(w, r)
	}
}

// genuine reports whether a request comes with a terminal's certificate. To renew it, it may have run out.
func (s *Server) genuine(r *http.Request) bool {
	if len(r.TLS.PeerCertificates) == 0 {
		return false
	}
	leaf, at := r.TLS.PeerCertificates[0], time.Now()
	if r.URL.Path == wire.PathRenew && at.After(leaf.NotAfter) {
		at = leaf.NotAfter
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: s.Pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: at,
	})
	return err == nil
}

// SetFault sets the fault; nil ends it.
func (s *Server) SetFault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// SetCode sets the code with which a terminal may enrol.
func (s *Server) SetCode(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code, s.codeKey = code, nil
}

// SetTrust sets which version of the trust list the server says it has.
func (s *Server) SetTrust(version uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trust = version
}

// Trust returns which version of the trust list the server says it has.
func (s *Server) Trust() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trust
}

// Visit returns the sealed record of a journal's sequence, nil if it never came.
func (s *Server) Visit(journal visit.JournalID, seq uint64) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.visits[place{journal, seq}]
}

// Saw reports whether a terminal certificate of that serial number was used.
func (s *Server) Saw(serial string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.serials[serial]
}

// Counts returns what has happened so far.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

func (s *Server) count(f func(*Counts)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.counts)
}
