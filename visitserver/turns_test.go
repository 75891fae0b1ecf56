package visitserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
	"github.com/kipass/kipass/visitserver/store"
)

// slowStore does not store before it is let.
type slowStore struct {
	*memoryStore
	begun chan struct{} // told of each call
	let   chan struct{} // closed when calls may go on
}

func (s *slowStore) Put(ctx context.Context, f visit.Facility, d day.Day, rows []store.Row, account store.Account) (int, error) {
	s.begun <- struct{}{}
	<-s.let
	return s.memoryStore.Put(ctx, f, d, rows, account)
}

// One gate speaks on 128 connections at once while the store is slow. The others are answered as if it were not there.
func TestOneGateTakesNothingFromOthers(t *testing.T) {
	slow := &slowStore{newMemoryStore(), make(chan struct{}, 200), make(chan struct{})}
	d := newDirectFixture(t, slow)
	requests := d.requests(t)
	enrol, batch, heartbeat := requests[0], requests[2], requests[3]
	w := d.call(enrol.path, enrol.contentType, enrol.good)
	side := testkit.Must(x509.ParseCertificate(testkit.Must(wire.Decode[wire.Enrolment](w.Body.Bytes()))(t).Certificate))(t)
	handler := d.Handler()
	call := func(leaf *x509.Certificate, path, contentType string, body []byte) int {
		req := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
		req.Header.Set("Content-Type", contentType)
		req = req.WithContext(ConnContext(req.Context(), nil))
		req.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		return w.Code
	}
	const connections = 128
	var wg sync.WaitGroup
	statuses := make(chan int, connections)
	for range connections {
		wg.Go(func() { statuses <- call(d.leaf, batch.path, batch.contentType, batch.good) })
	}
	testkit.Soon(t, "a batch in work", slow.begun)
	testkit.Eventually(t, "all requests of the gate wait", func() bool {
		d.turns.mu.Lock()
		defer d.turns.mu.Unlock()
		door := d.turns.gates[terminalName{"cafe", "door"}]
		return door != nil && door.users == connections && len(door.places) == maxOfGate
	})
	if n := len(d.slots); n != 1 {
		t.Errorf("one gate holds %d slots, want 1", n)
	}
	if status := call(side, heartbeat.path, heartbeat.contentType, heartbeat.good); status != http.StatusOK {
		t.Errorf("another gate is answered %d", status)
	}
	close(slow.let)
	wg.Wait()
	close(statuses)
	count := map[int]int{}
	for s := range statuses {
		count[s]++
	}
	if count[http.StatusOK] == 0 || count[http.StatusOK]+count[http.StatusServiceUnavailable] != connections {
		t.Errorf("the gate's own answers: %v", count)
	}
	if len(d.turns.gates) != 0 || len(d.slots) != 0 {
		t.Errorf("%d gates and %d slots are left", len(d.turns.gates), len(d.slots))
	}
}
