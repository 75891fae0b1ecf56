package visitserver

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/guard"
	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
	"github.com/kipass/kipass/visitserver/rowcipher"
	"github.com/kipass/kipass/visitserver/store/embedded"
)

// direct is a server whose handlers are called without a network, as terminal cafe/door.
type direct struct {
	*Server
	leaf *x509.Certificate
	code string
	csr  []byte
	seal visit.SealPublicKey
}

func newDirect(t testing.TB) *direct {
	t.Helper()
	dir := t.TempDir()
	clock := &driven{}
	clock.Set(noon)
	id, err := NewIdentity([]string{"localhost"}, noon)
	if err != nil {
		t.Fatal(err)
	}
	st, err := embedded.Open(dir+"/visits", embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := daykey.Open(dir+"/keys", make([]byte, masterKeySize), rowcipher.Derive, durable.Disk{})
	if err != nil {
		t.Fatal(err)
	}
	guard, err := guard.Open(dir+"/clock", clock.Now, nil, durable.Disk{})
	if err != nil {
		t.Fatal(err)
	}
	log, err := auditlog.Open(dir+"/audit", id.Log, auditOrigin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	s, err := New(t.Context(), Parts{Store: st, Keys: keys, Guard: guard, Identity: id, Log: log, Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	d := &direct{Server: s, seal: id.Seal.Public()}
	if err := s.AddFacility(t.Context(), "cafe", "cafe"); err != nil {
		t.Fatal(err)
	}
	if d.code, err = s.AddTerminal(t.Context(), "cafe", "door"); err != nil {
		t.Fatal(err)
	}
	_, d.csr = newKeyAndCSR(t)
	e, err := s.enrolTerminal(t.Context(), wire.EnrolRequest{Code: d.code, CSR: d.csr})
	if err != nil {
		t.Fatal(err)
	}
	if d.leaf, err = x509.ParseCertificate(e.Certificate); err != nil {
		t.Fatal(err)
	}
	return d
}

// call posts a body as the enrolled terminal.
func (d *direct) call(path, contentType string, body []byte) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	req.Header.Set("Content-Type", contentType)
	req = req.WithContext(ConnContext(req.Context(), nil))
	req.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{d.leaf}}
	w := httptest.NewRecorder()
	d.Handler().ServeHTTP(w, req)
	return w
}

// requests are the kinds of requests with a body, each with a good one.
func (d *direct) requests(t testing.TB) []struct {
	path, contentType, answer string
	good                      []byte
} {
	t.Helper()
	sealer, err := visit.NewSealer(d.seal, "cafe", "door", 1)
	if err != nil {
		t.Fatal(err)
	}
	record, err := newVisit(noon).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	id := visit.JournalID{1}
	batch := wire.Batch{Segment: visit.Segment{
		Journal: id, Prev: visit.Genesis(id), Epochs: []visit.Epoch{sealer.Epoch()},
		Records: []visit.Sealed{{Seq: 1, Data: sealer.Seal(nil, 1, record)}},
	}}
	enc := func(m any) []byte {
		b, err := wire.Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
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

func TestLimitsOfRequests(t *testing.T) {
	d := newDirect(t)
	for _, r := range d.requests(t) {
		for _, c := range []struct {
			rule, contentType string
			body              []byte
			status            int
		}{
			{"too large", r.contentType, make([]byte, wire.MaxRequest+1), http.StatusRequestEntityTooLarge},
			{"another content type", "application/cbor", r.good, http.StatusUnsupportedMediaType},
			{"empty", r.contentType, nil, http.StatusBadRequest},
			{"a byte too many", r.contentType, append(bytes.Clone(r.good), 0), http.StatusBadRequest},
			{"a byte too few", r.contentType, r.good[:len(r.good)-1], http.StatusBadRequest},
		} {
			if w := d.call(r.path, c.contentType, c.body); w.Code != c.status || w.Header().Get("Content-Type") != wire.TypeProblem {
				t.Errorf("%s, %s: status %d of %q, want %d", r.path, c.rule, w.Code, w.Header().Get("Content-Type"), c.status)
			}
		}
	}
	for rule, h := range map[string]wire.Heartbeat{
		"a long fault":     {Clock: "synced", Faults: []string{strings.Repeat("x", mostText+1)}},
		"too many faults":  {Clock: "synced", Faults: make([]string, mostFaults+1)},
		"a long version":   {Clock: "synced", Version: strings.Repeat("1", mostText+1)},
		"an unknown clock": {Clock: "sundial"},
	} {
		b, err := wire.Encode(h)
		if err != nil {
			t.Fatal(err)
		}
		if w := d.call(wire.PathHeartbeat, wire.TypeHeartbeat, b); w.Code != http.StatusBadRequest {
			t.Errorf("heartbeat with %s: status %d", rule, w.Code)
		}
	}
	// Good ones last: a renewal or enrolment changes which certificates hold.
	for _, i := range []int{2, 3, 1, 0} {
		r := d.requests(t)[i]
		if w := d.call(r.path, r.contentType, r.good); w.Code != http.StatusOK || w.Header().Get("Content-Type") != r.answer {
			t.Errorf("%s: a good request got %d of %q", r.path, w.Code, w.Header().Get("Content-Type"))
		}
	}
}

// FuzzRequests sends anything to every handler that reads a body: the answer is always one of ours.
func FuzzRequests(f *testing.F) {
	d := newDirect(f)
	kinds := d.requests(f)
	for i, r := range kinds {
		f.Add(uint8(i), r.good)
	}
	f.Add(uint8(len(kinds)), []byte{0xd2, 0x84})
	f.Add(uint8(len(kinds)+1), []byte(`{"command":"ledger","args":[]}`))
	f.Fuzz(func(t *testing.T, kind uint8, body []byte) {
		switch n := int(kind) % (len(kinds) + 2); n {
		case len(kinds):
			w := d.call(order.PathOrders, order.TypeOrder, body)
			if w.Code == http.StatusOK || w.Code == http.StatusInternalServerError || w.Header().Get("Content-Type") != order.TypeProblem {
				t.Errorf("order: status %d of %q", w.Code, w.Header().Get("Content-Type"))
			}
		case len(kinds) + 1:
			w := httptest.NewRecorder()
			req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
			req.Header.Set("Content-Type", httpserver.TypeJSON)
			d.Admin().ServeHTTP(w, req)
			got := w.Header().Get("Content-Type")
			if w.Code == http.StatusOK && got != httpserver.TypeJSON || w.Code != http.StatusOK && got != httpserver.TypeProblemJSON ||
				w.Code == http.StatusInternalServerError {
				t.Errorf("command: status %d of %q", w.Code, got)
			}
		default:
			r := kinds[n]
			w := d.call(r.path, r.contentType, body)
			got := w.Header().Get("Content-Type")
			if w.Code == http.StatusOK && got != r.answer || w.Code != http.StatusOK && got != wire.TypeProblem || w.Code == http.StatusInternalServerError {
				t.Errorf("%s: status %d of %q", r.path, w.Code, got)
			}
		}
	})
}
