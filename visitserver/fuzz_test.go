package visitserver

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/wire"
)

func TestLimitsOfRequests(t *testing.T) {
	d := newDirectFixture(t, newMemoryStore())
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
		"a long fault":     {Clock: "synced", Faults: []string{strings.Repeat("x", maxText+1)}},
		"too many faults":  {Clock: "synced", Faults: make([]string, maxFaults+1)},
		"a long version":   {Clock: "synced", Version: strings.Repeat("1", maxText+1)},
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
	for _, r := range d.requests(t) {
		if w := d.call(r.path, r.contentType, r.good); w.Code != http.StatusOK || w.Header().Get("Content-Type") != r.answer {
			t.Errorf("%s: a good request got %d of %q", r.path, w.Code, w.Header().Get("Content-Type"))
		}
	}
}

// FuzzRequests sends anything to every handler that reads a body: the answer is always one of ours.
func FuzzRequests(f *testing.F) {
	d := newDirectFixture(f, newMemoryStore())
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
