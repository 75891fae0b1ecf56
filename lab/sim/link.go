package sim

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kipass/kipass/protocol/wire"
	"github.com/kipass/kipass/visitserver"
)

// weather is what the network between a party and the others does to requests.
type weather struct {
	mu sync.Mutex
	conditions
}

type conditions struct {
	down   bool          // nothing gets through
	portal bool          // a captive portal answers everything
	delay  time.Duration // of each way
	twice  int           // the next requests arrive twice
	lost   int           // the answers to the next requests are lost
}

func (n *weather) change(f func(*conditions)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(&n.conditions)
}

// draw takes what is done to one request.
func (n *weather) draw() conditions {
	n.mu.Lock()
	defer n.mu.Unlock()
	one := n.conditions
	n.twice, n.lost = max(0, n.twice-1), max(0, n.lost-1)
	return one
}

// link carries the requests of one party to the handler of another, directly.
type link struct {
	weather     *weather
	handler     *atomic.Pointer[http.Handler] // nil while the other party is off
	certificate func() *tls.Certificate
	sabotage    Sabotage

	mu   sync.Mutex
	conn conn
}

// conn is a connection as a handler knows it: it is kept for as long as both ends are the same.
type conn struct {
	to   *http.Handler
	leaf *x509.Certificate
	ctx  context.Context
}

// connect returns the context of the connection to a handler.
func (l *link) connect(h *http.Handler, leaf *x509.Certificate) context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn.to != h || l.conn.leaf != leaf {
		l.conn = conn{h, leaf, visitserver.ConnContext(context.Background(), nil)}
	}
	return l.conn.ctx
}

var errNoRoute = &net.OpError{Op: "dial", Net: "sim", Err: syscall.EHOSTUNREACH}

// RoundTrip implements http.RoundTripper.
func (l *link) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		_ = req.Body.Close()
	}
	on := l.weather.draw()
	if err := pass(req.Context(), on.delay); err != nil {
		return nil, err
	}
	switch {
	case on.down:
		return nil, errNoRoute
	case on.portal:
		w := httptest.NewRecorder()
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.WriteString("<html>accept our terms</html>")
		return w.Result(), nil
	}
	var answer *http.Response
	for range 1 + min(on.twice, 1) {
		// The handler is asked for each time: a server may have gone off meanwhile.
		h := l.handler.Load()
		if h == nil {
			return nil, &net.OpError{Op: "dial", Net: "sim", Err: syscall.ECONNREFUSED}
		}
		w := httptest.NewRecorder()
		(*h).ServeHTTP(w, l.arriving(h, req, body))
		if l.handler.Load() != h { // its power was cut before the answer had left
			return nil, io.ErrUnexpectedEOF
		}
		if l.sabotage == deafGates {
			w.Body = bytes.NewBuffer(deafen(w.Body.Bytes()))
		}
		answer = w.Result()
	}
	if on.lost > 0 || l.sabotage == lostRenewals && req.URL.Path == wire.PathRenew {
		return nil, io.ErrUnexpectedEOF
	}
	if err := pass(req.Context(), on.delay); err != nil {
		return nil, err
	}
	return answer, nil
}

// arriving is the request as the other party's HTTP server would hand it to its handler.
func (l *link) arriving(h *http.Handler, req *http.Request, body []byte) *http.Request {
	r := httptest.NewRequest(req.Method, req.URL.RequestURI(), bytes.NewReader(body))
	r.Header = req.Header.Clone()
	r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true}
	var leaf *x509.Certificate
	if l.certificate != nil {
		if c := l.certificate(); c != nil {
			leaf = c.Leaf
			r.TLS.PeerCertificates = append(r.TLS.PeerCertificates, leaf)
		}
	}
	return r.WithContext(l.connect(h, leaf))
}

// pass waits for d, as an error if ctx ends first.
func pass(ctx context.Context, d time.Duration) error {
	if d > 0 {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	return context.Cause(ctx)
}
