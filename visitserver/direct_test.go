package visitserver

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
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
	"github.com/kipass/kipass/visitserver/store"
)

// directFixture is a server whose handlers are called without a network, as terminal cafe/door. What requests are made
// with – the sealing key, the second terminal's enrolment code, a device's key – is the same in every process: each worker
// of the fuzzing engine is one, and what one worker finds good must be good to all.
type directFixture struct {
	*Server
	leaf *x509.Certificate // of cafe/door
	csr  []byte
	seal visit.SealPublicKey
}

const sideCode = "AAAA-BBBB-CCCC-DDDD" // enrols cafe/side

// newDirectFixture returns a server on a store, which it closes.
func newDirectFixture(t testing.TB, st store.Store) *directFixture {
	t.Helper()
	dir := t.TempDir()
	clock := testkit.NewClock(noon)
	id := testkit.Must(NewIdentity([]string{"localhost"}, noon))(t)
	seal := testkit.Must(visit.ParseSealPrivateKey(bytes.Repeat([]byte{1}, 32)))(t)
	seals := testkit.Must(daykey.Open(dir+"/seal", make([]byte, masterKeySize),
		func(daykey.Secret) (visit.SealPrivateKey, error) { return seal, nil }, durable.Disk{}))(t)
	keys := testkit.Must(daykey.Open(dir+"/keys", make([]byte, masterKeySize), rowcipher.Derive, durable.Disk{}))(t)
	guard := guard.Open(dir+"/clock", guard.Options{Now: clock.Now})
	audit := testkit.Must(auditlog.Open(dir+"/audit", id.LogKey, auditOrigin))(t)
	t.Cleanup(func() { testkit.Check(t, errors.Join(st.Close(), guard.Close(), audit.Close())) })
	s := testkit.Must(New(t.Context(), Parts{Store: st, Keys: keys, SealKeys: seals, Guard: guard, Identity: id, Audit: audit, Now: clock.Now}))(t)
	d := &directFixture{Server: s, seal: seal.Public()}
	testkit.Check(t, s.AddFacility(t.Context(), "cafe", "cafe"))
	code := testkit.Must(s.AddTerminal(t.Context(), "cafe", "door"))(t)
	key := testkit.Must(ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{2}, 32)))(t)
	d.csr = testkit.Must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key))(t)
	e := testkit.Must(s.enrolTerminal(t.Context(), wire.EnrolRequest{Code: code, CSR: d.csr}))(t)
	d.leaf = testkit.Must(x509.ParseCertificate(e.Certificate))(t)
	d.addSide(t)
	d.age(t)
	return d
}

// age makes the terminal's certificate old enough to be renewed.
func (d *directFixture) age(t testing.TB) {
	t.Helper()
	var row TerminalRow
	raw := testkit.Must(load(t.Context(), d.store, tableTerminal, "cafe/door", &row))(t)
	row.Issued = noon.Add(-terminalLife / 2)
	var e edit
	e.put(tableTerminal, "cafe/door", raw, row)
	testkit.Check(t, e.apply(t.Context(), d.store))
}

// addSide registers the terminal cafe/side, to be enrolled with sideCode.
func (d *directFixture) addSide(t testing.TB) {
	t.Helper()
	hash := hashCode(sideCode)
	var e edit
	e.put(tableEnrolment, hash, nil, enrolmentRow{Facility: "cafe", Gate: "side", Expires: noon.Add(EnrolmentLife)})
	e.put(tableTerminal, "cafe/side", nil, TerminalRow{Added: noon, Code: hash})
	testkit.Check(t, e.apply(t.Context(), d.store))
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
	}, Oldest: 1}
	enc := func(m any) []byte { return testkit.Must(wire.Encode(m))(t) }
	return []struct {
		path, contentType, answer string
		good                      []byte
	}{
		{wire.PathEnrol, wire.TypeEnrol, wire.TypeEnrolment, enc(wire.EnrolRequest{Code: sideCode, CSR: d.csr})},
		{wire.PathRenew, wire.TypeEnrol, wire.TypeEnrolment, enc(wire.RenewRequest{CSR: d.csr})},
		{wire.PathVisits, wire.TypeBatch, wire.TypeReceipt, enc(batch)},
		{wire.PathHeartbeat, wire.TypeHeartbeat, wire.TypeReceipt, enc(wire.Heartbeat{Version: "1", Clock: "synced", Faults: []string{"speaker"}})},
	}
}
