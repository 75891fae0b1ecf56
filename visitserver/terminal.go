package visitserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kipass/kipass/internal/authority"
	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/protocol/wire"
	"github.com/kipass/kipass/visitserver/store"
)

// TerminalRow is what the register holds of a terminal.
type TerminalRow struct {
	Added    time.Time  `json:"added"`
	Enrolled *time.Time `json:"enrolled,omitempty"`
	Revoked  *time.Time `json:"revoked,omitempty"`
	Issued   time.Time  `json:"issued,omitzero"` // when the newest certificate was
	// Certificates are those in force, newest last: a renewal adds one, a new enrolment replaces all.
	Certificates []certificate `json:"certificates,omitempty"`
	// Code is the SHA-256 of the enrolment code last given out, in hexadecimal.
	Code string `json:"code,omitempty"`
}

const tableTerminal = "terminal"

type peerKey struct{}

// peer remembers the verdict on a connection's client certificate: it is the same for every request on it.
type peer struct {
	once   sync.Once
	name   terminalName
	leaf   *x509.Certificate
	serial string
	err    error
	seen   atomic.Pointer[seenRow]
}

// seenRow is a terminal's row as it was decoded for an earlier request on the connection. It is never changed.
type seenRow struct {
	raw []byte
	row TerminalRow
}

// ConnContext is for http.Server.ConnContext.
func ConnContext(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, &peer{})
}

// caller is the terminal that makes a request, with its row and the bytes the row was read from.
type caller struct {
	name   terminalName
	serial string      // of the certificate it shows, hexadecimal
	by     tls.CurveID // the key exchange of its connection
	row    TerminalRow
	raw    []byte
}

// terminal tells which terminal asks: by a certificate of our terminal authority that is registered and not revoked.
// That is looked up for each request. expiredToo admits a certificate that has run out, so that a gate that was offline
// for long can renew it.
func (s *Server) terminal(r *http.Request, expiredToo bool) (caller, error) {
	p, ok := r.Context().Value(peerKey{}).(*peer)
	if !ok || r.TLS == nil {
		return caller{}, httpserver.Unauthenticated.With("a terminal's certificate is needed")
	}
	p.once.Do(func() {
		if p.name, p.leaf, p.err = s.identify(r.TLS.PeerCertificates); p.err == nil {
			p.serial = p.leaf.SerialNumber.Text(16)
		}
	})
	if p.err != nil {
		return caller{}, p.err
	}
	if !expiredToo && s.now().After(p.leaf.NotAfter) && s.earliest().After(p.leaf.NotAfter) {
		return caller{}, httpserver.Unauthenticated.With("the terminal's certificate has expired: renew it")
	}
	t := caller{name: p.name, serial: p.serial, by: r.TLS.CurveID}
	var err error
	t.raw, t.row, err = p.register(r.Context(), s.store)
	switch {
	case err != nil:
		return caller{}, err
	case t.raw == nil:
		return caller{}, unknownTerminal.With("this terminal is not in the register: was that restored from a backup? Enrol it again")
	case t.row.Revoked != nil:
		return caller{}, revoked.With("this terminal is revoked")
	case t.row.holds(t.serial):
	case p.leaf.NotBefore.Add(authority.Backdate).After(t.row.Issued):
		return caller{}, unknownTerminal.With("this certificate is younger than the register: was that restored from a backup? Enrol the terminal again")
	default:
		return caller{}, revoked.With("this terminal has been enrolled anew on another device")
	}
	annotate(r.Context(), t.name)
	return t, nil
}

// register reads the terminal's row. One that stands there as it did for an earlier request is not decoded again.
func (p *peer) register(ctx context.Context, r store.Register) (raw []byte, row TerminalRow, err error) {
	raw, err = optional(r.Get(ctx, tableTerminal, p.name.String()))
	if err != nil || raw == nil {
		return nil, TerminalRow{}, err
	}
	if seen := p.seen.Load(); seen != nil && bytes.Equal(seen.raw, raw) {
		return raw, seen.row, nil
	}
	if err := decode(tableTerminal, raw, &row); err != nil {
		return nil, TerminalRow{}, err
	}
	p.seen.Store(&seenRow{raw, row})
	return raw, row, nil
}

func (s *Server) identify(chain []*x509.Certificate) (terminalName, *x509.Certificate, error) {
	if len(chain) == 0 {
		return terminalName{}, nil, httpserver.Unauthenticated.With("a terminal's certificate is needed")
	}
	leaf := chain[0]
	roots := x509.NewCertPool()
	roots.AddCert(s.id.Terminal.Cert)
	// Judged at its own beginning: whether it has run out meanwhile is asked for each request.
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: leaf.NotBefore.Add(authority.Backdate),
	})
	if err != nil || len(leaf.URIs) != 1 {
		return terminalName{}, nil, httpserver.Unauthenticated.With("the certificate is not of this server's terminals")
	}
	f, g, err := wire.ParseTerminalURI(leaf.URIs[0])
	if err != nil {
		return terminalName{}, nil, httpserver.Unauthenticated.With("the certificate names no terminal")
	}
	return terminalName{f, g}, leaf, nil
}
