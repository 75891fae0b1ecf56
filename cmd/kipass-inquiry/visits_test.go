package main

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
)

// visitServer stands in for the visit server: it checks orders with the same package and gives out the scans it is told.
type visitServer struct {
	*httptest.Server
	trusted order.Trusted
	mu      sync.Mutex
	scans   []order.Scan
	gates   []order.GateState
	asked   int
	bodies  []byte // all that it was sent
}

func startVisitServer(t *testing.T, trusted order.Trusted) *visitServer {
	v := &visitServer{trusted: trusted}
	v.Server = httptest.NewUnstartedServer(http.HandlerFunc(v.orders))
	v.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	v.StartTLS()
	t.Cleanup(v.Close)
	return v
}

func (v *visitServer) writeCA(t *testing.T, path string) {
	t.Helper()
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: v.Certificate().Raw})
	testkit.Check(t, os.WriteFile(path, b, 0o644))
}

func (v *visitServer) orders(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked++
	raw, err := io.ReadAll(io.LimitReader(r.Body, order.MaxOrder+1))
	v.bodies = append(v.bodies, raw...)
	if err != nil || r.URL.Path != order.PathOrders || r.Header.Get("Content-Type") != order.TypeOrder {
		http.NotFound(w, r)
		return
	}
	o, err := order.Verify(raw, v.trusted, time.Now())
	if err != nil {
		b, _ := order.EncodeProblem(order.Problem{Code: order.CodeOrderRefused, Detail: err.Error()})
		w.Header().Set("Content-Type", order.TypeProblem)
		w.WriteHeader(http.StatusForbidden)
		w.Write(b)
		return
	}
	a := order.VisitAnswer{Entry: 41, Order: o.ID, Gates: v.gates}
	for _, s := range v.scans {
		if s.Facility == o.Facility && o.Covers(s.At) {
			a.Scans = append(a.Scans, s)
		}
	}
	sealed, err := order.SealVisitAnswer(o.Recipient, a)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", order.TypeVisitAnswer)
	w.Write(sealed)
}

func (v *visitServer) scan(c token.Code, f visit.Facility, g visit.Gate) {
	v.add(order.Scan{
		At: c.IssuedAt().Add(time.Second), Facility: f, Gate: g, Issuer: c.Issuer(), CTI: visit.CTI(c.CTI()),
		Clock: visit.ClockSynced, Skew: 2 * time.Second,
	})
}

func (v *visitServer) add(s order.Scan) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.scans = append(v.scans, s)
}

func (v *visitServer) received() []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	return bytes.Clone(v.bodies)
}

func (v *visitServer) timesAsked() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.asked
}
