package visitserver

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/guard"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
	"github.com/kipass/kipass/visitserver/rowcipher"
	"github.com/kipass/kipass/visitserver/store/embedded"
)

// directFixture is a server whose handlers are called without a network, as terminal cafe/door.
type directFixture struct {
	*Server
	leaf *x509.Certificate
	code string
	csr  []byte
	seal visit.SealPublicKey
}

func newDirectFixture(t testing.TB) *directFixture {
	t.Helper()
	dir := t.TempDir()
	clock := testkit.NewClock(noon)
	id := testkit.Must(NewIdentity([]string{"localhost"}, noon))(t)
	st := testkit.Must(embedded.Open(dir+"/visits", embedded.Options{}))(t)
	keys := testkit.Must(daykey.Open(dir+"/keys", make([]byte, masterKeySize), rowcipher.Derive, durable.Disk{}))(t)
	guard := testkit.Must(guard.Open(dir+"/clock", clock.Now, nil, durable.Disk{}))(t)
	audit := testkit.Must(auditlog.Open(dir+"/audit", id.LogKey, auditOrigin))(t)
	t.Cleanup(func() { testkit.Check(t, errors.Join(st.Close(), guard.Close(), audit.Close())) })
	s := testkit.Must(New(t.Context(), Parts{Store: st, Keys: keys, Guard: guard, Identity: id, Audit: audit, Now: clock.Now}))(t)
	d := &directFixture{Server: s, seal: id.Seal.Public()}
	testkit.Check(t, s.AddFacility(t.Context(), "cafe", "cafe"))
	d.code = testkit.Must(s.AddTerminal(t.Context(), "cafe", "door"))(t)
	_, d.csr = newKeyAndCSR(t)
	e := testkit.Must(s.enrolTerminal(t.Context(), wire.EnrolRequest{Code: d.code, CSR: d.csr}))(t)
	d.leaf = testkit.Must(x509.ParseCertificate(e.Certificate))(t)
	return d
}

// call posts a body as the enrolled terminal.
func (d *directFixture) call(path, contentType string, body []byte) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	req.Header.Set("Content-Type", contentType)
	req = req.WithContext(ConnContext(req.Context(), nil))
	req.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{d.leaf}}
	w := httptest.NewRecorder()
	d.Handler().ServeHTTP(w, req)
	return w
}

// requests are the kinds of requests with a body, each with a good one.
func (d *directFixture) requests(t testing.TB) []struct {
	path, contentType, answer string
	good                      []byte
} {
	t.Helper()
	sealer := testkit.Must(visit.NewSealer(d.seal, "cafe", "door", 1))(t)
	record := testkit.Must(newVisit(noon).Marshal())(t)
	id := visit.JournalID{1}
	batch := wire.Batch{Segment: visit.Segment{
		Journal: id, Prev: visit.Genesis(id), Epochs: []visit.Epoch{sealer.Epoch()},
		Records: []visit.Sealed{{Seq: 1, Data: sealer.Seal(nil, 1, record)}},
	}}
	enc := func(m any) []byte { return testkit.Must(wire.Encode(m))(t) }
	return []struct {
		path, contentType, answer string
		good                      []byte
	}{
		{wire.PathEnrol, wire.TypeEnrol, wire.TypeEnrolment, enc(wire.EnrolRequest{Code: d.code, CSR: d.csr})},
		{wire.PathRenew, wire.TypeEnrol, wire.TypeEnrolment, enc(wire.RenewRequest{CSR: d.csr})},
		{wire.PathVisits, wire.TypeBatch, wire.TypeReceipt, enc(batch)},
		{wire.PathHeartbeat, wire.TypeHeartbeat, wire.TypeReceipt, enc(wire.Heartbeat{Version: "1", Clock: "synced", Faults: []string{"speaker"}})},
	}
}
