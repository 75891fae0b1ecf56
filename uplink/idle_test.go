package uplink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are in memory, so that TLS and HTTP run in synthetic time.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func TestConnectionIsKeptWhileBusyAndClosedWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCentral(t)
		c.url = &url.URL{Scheme: "https", Host: "visits.example"}
		l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		c.serve(l, c.authority.server(t, "visits.example"))
		var open atomic.Int32
		cert := c.authority.terminal
		key := newKey(t)
		own := &tls.Certificate{Certificate: [][]byte{cert(t, &key.PublicKey, testFacility, testGate)}, PrivateKey: key}
		var err error
		own.Leaf, err = x509.ParseCertificate(own.Certificate[0])
		check(t, err)
		s := newClient(Options{Server: c.url, CA: c.authority.pool, Timeout: timeoutDefault}, func() *tls.Certificate { return own }, time.Now, nil)
		s.http.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
			a, b := net.Pipe()
			open.Add(1)
			l.conns <- b
			return counted{a, new(sync.Once), &open}, nil
		}
		g := &gateSide{journal: newMemory(0), server: c}
		g.journal.stored = c.holds
		status := &statusBoard{now: time.Now}
		d := newDrain(drain{source: g.journal, server: s, status: status, draw: always(0),
			onReceipt: ignore, onRevoked: func(bool) {}, beat: pulse{content: noFaults}}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); d.run(ctx) }()
		for range 60 { // busy for two minutes: a scan every 2 s
			g.journal.append(1)
			time.Sleep(2 * time.Second)
		}
		synctest.Wait()
		c.mu.Lock()
		if c.conns != 1 || open.Load() != 1 || len(c.visits) != 60 {
			t.Errorf("%d connections made, %d open, %d visits", c.conns, open.Load(), len(c.visits))
		}
		c.mu.Unlock()
		time.Sleep(idleClose + time.Second)
		synctest.Wait()
		if open.Load() != 0 {
			t.Errorf("%d connections open after %v idle", open.Load(), idleClose)
		}
		cancel()
		<-done
		s.close()
	})
}
