package visitserver

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/kipass/kipass/internal/authority"
	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/protocol/wire"
	"github.com/kipass/kipass/visitserver/store"
)

// Alerts of a gate's certificates.
const (
	AlertRenewal      = "parallel-renewal"      // a renewal was asked for with a certificate that another one has followed
	AlertCertificates = "parallel-certificates" // a certificate is used on after the one that followed it was
)

const (
	tableRenewal = "renewal" // by facility/gate
	// issuedSlack is by how much the newest certificate may be of a later time. One that is of a later time yet was made by a
	// clock that was ahead, and is renewed.
	issuedSlack = time.Hour
	// adopting is how long a gate may use its old certificate beside the new one: for requests under way.
	adopting = 10 * time.Minute
)

// renewalRow is the last renewal of a terminal. It is answered again, the same, as long as the answer may have been lost.
type renewalRow struct {
	With        string `json:"with"`        // serial of the certificate it was asked with
	Key         []byte `json:"key"`         // SHA-256 of the public key it was asked for
	Certificate []byte `json:"certificate"` // that was given, in DER
}

// certificate is one of a terminal's in the register.
type certificate struct {
	Serial string    `json:"serial"` // hexadecimal
	Until  time.Time `json:"until"`
}

func certificateOf(c *x509.Certificate) certificate {
	return certificate{Serial: c.SerialNumber.Text(16), Until: c.NotAfter}
}

// newest is the serial of the terminal's newest certificate, "" for none.
func (r TerminalRow) newest() string {
	if len(r.Certificates) == 0 {
		return ""
	}
	return r.Certificates[len(r.Certificates)-1].Serial
}

func (r TerminalRow) holds(serial string) bool {
	return slices.ContainsFunc(r.Certificates, func(c certificate) bool { return c.Serial == serial })
}

// renew answers a request for the certificate that follows the newest one. Only the newest can be renewed, and not before
// half of its life is over – a gate asks at two thirds – unless its time has not come; no renewal ends a certificate. So a copy of a gate's key can neither shut the gate out nor multiply, and
// of two that renew the second is seen.
func (s *Server) renew(w http.ResponseWriter, r *http.Request, t caller, own *turn) error {
	end, err := own.begin(r.Context())
	if err != nil {
		return err
	}
	defer end()
	if err := s.room(); err != nil {
		return err
	}
	raw, err := httpserver.ReadBody(w, r, wire.TypeEnrol, wire.MaxRequest)
	if err != nil {
		return err
	}
	req, err := wire.Decode[wire.RenewRequest](raw)
	if err != nil {
		return httpserver.BadRequest.With(err.Error())
	}
	csr, err := parseCSR(req.CSR)
	if err != nil {
		return httpserver.BadRequest.With(err.Error())
	}
	mu := s.gates.of(t.name)
	mu.Lock()
	defer mu.Unlock()
	enrolment, err := s.renewTerminal(r.Context(), t, csr)
	if errors.Is(err, store.ErrConflict) {
		return httpserver.Busy.With("the terminal was changed meanwhile; send again")
	}
	if err != nil {
		return err
	}
	return answer(w, wire.TypeEnrolment, enrolment)
}

// renewTerminal does so for a caller. The gate's lock is held.
func (s *Server) renewTerminal(ctx context.Context, t caller, csr *x509.CertificateRequest) (wire.Enrolment, error) {
	var last renewalRow
	rawLast, err := load(ctx, s.store, tableRenewal, t.name.String(), &last)
	if err != nil {
		return wire.Enrolment{}, err
	}
	key := sha256.Sum256(csr.RawSubjectPublicKeyInfo)
	if last.With == t.serial && string(last.Key) == string(key[:]) {
		p, err := s.provisioning(ctx)
		return wire.Enrolment{Certificate: last.Certificate, Provision: p}, err
	}
	earliest, latest := s.guard.Times()
	switch {
	case t.serial != t.row.newest():
		refusal := superseded.With("another certificate has followed this one: is there a copy of this terminal?")
		return wire.Enrolment{}, errors.Join(refusal, s.alarm(ctx, t.name, AlertRenewal))
	case earliest.Before(t.row.Issued.Add(s.life/2)) && !latest.Before(t.row.Issued.Add(-issuedSlack)):
		return wire.Enrolment{}, httpserver.Busy.With("the terminal's certificate is too young to be renewed")
	}
	cert, err := issue(s.id.Terminal, t.name, csr, earliest, s.life)
	if err != nil {
		return wire.Enrolment{}, err
	}
	// Those that have run out go, but for the one this was asked with: the answer may be lost.
	t.row.Certificates = slices.DeleteFunc(slices.Clone(t.row.Certificates), func(c certificate) bool {
		return earliest.After(c.Until) && c.Serial != t.serial
	})
	t.row.Certificates = append(t.row.Certificates, certificateOf(cert))
	var e edit
	e.put(tableRenewal, t.name.String(), rawLast, renewalRow{With: t.serial, Key: key[:], Certificate: cert.Raw})
	return s.certify(ctx, t, cert, e)
}

// certify registers a certificate, which t's row names already, durably and together with what e has to change, before
// it is given out.
func (s *Server) certify(ctx context.Context, t caller, cert *x509.Certificate, e edit) (wire.Enrolment, error) {
	t.row.Issued = cert.NotBefore.Add(authority.Backdate)
	e.put(tableTerminal, t.name.String(), t.raw, t.row)
	p, err := s.provisioning(ctx)
	if err != nil {
		return wire.Enrolment{}, err
	}
	if err := e.apply(ctx, s.store); err != nil {
		return wire.Enrolment{}, err
	}
	return wire.Enrolment{Certificate: cert.Raw, Provision: p}, nil
}

// show takes note of the certificate with which a gate has come, and returns an alert if it is one that the gate had left
// behind: then two devices are at work.
func (g *gateRow) show(t caller, now time.Time) (alert string) {
	switch newest := t.row.newest(); {
	case t.serial == newest && g.Newest != newest:
		g.Newest, g.Adopted = newest, now
	case t.serial != newest && g.Newest == newest && now.After(g.Adopted.Add(adopting)):
		return AlertCertificates
	}
	return ""
}
