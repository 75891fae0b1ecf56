package httpserver

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/internal/testkit"
)

// fakeConn is a connection of an address that notices when it is closed.
type fakeConn struct {
	net.Conn
	name    string
	address net.Addr
	closed  bool
}

func (c *fakeConn) RemoteAddr() net.Addr { return c.address }
func (c *fakeConn) Close() error         { c.closed = true; return nil }

// crowd is connections by name.
type crowd struct {
	*connections
	all map[string]*fakeConn
}

func newCrowd(max int) *crowd { return &crowd{newConnections(max, addressOf), map[string]*fakeConn{}} }

// come lets n connections of an address come, called address-1 and so on.
func (c *crowd) come(address string, n int) {
	for i := range n {
		name := fmt.Sprintf("%s-%d", address, i+1)
		c.all[name] = &fakeConn{name: name, address: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), uint16(1000+i)))}
		c.state(c.all[name], http.StateNew)
	}
}

func (c *crowd) become(state http.ConnState, names ...string) {
	for _, name := range names {
		c.state(c.all[name], state)
	}
}

func (c *crowd) expectClosed(t *testing.T, rule string, want ...string) {
	t.Helper()
	var closed []string
	for name, conn := range c.all {
		if conn.closed {
			closed = append(closed, name)
			conn.closed = false
		}
	}
	if got, want := sorted(closed), sorted(want); got != want {
		t.Errorf("%s: closed are [%s], want [%s]", rule, got, want)
	}
}

func TestWhoIsSilentMakesRoom(t *testing.T) {
	c := newCrowd(8) // an address has at most two, of which one silent
	c.come("10.0.0.1", 1)
	c.come("10.0.0.2", 3)
	c.expectClosed(t, "of its own address first", "10.0.0.2-1", "10.0.0.2-2")
	c.become(http.StateActive, "10.0.0.2-3")
	c.come("10.0.0.2", 2)
	c.expectClosed(t, "an address has its part", "10.0.0.2-1")
	c.become(http.StateActive, "10.0.0.2-2")
	c.come("10.0.0.3", 1)
	c.become(http.StateActive, "10.0.0.3-1")
	c.become(http.StateIdle, "10.0.0.3-1")
	for i := range 4 {
		c.come(fmt.Sprintf("10.0.1.%d", i+1), 1)
	}
	c.expectClosed(t, "as many as there may be")
	c.come("10.0.2.1", 1)
	c.expectClosed(t, "the one that has been silent longest", "10.0.0.1-1")
	for i := range 4 {
		c.become(http.StateActive, fmt.Sprintf("10.0.1.%d-1", i+1))
	}
	c.become(http.StateActive, "10.0.2.1-1")
	c.come("10.0.2.2", 1)
	c.expectClosed(t, "without a silent one, one between two requests", "10.0.0.3-1")
	c.become(http.StateActive, "10.0.2.2-1")
	c.come("10.0.2.3", 1)
	c.expectClosed(t, "the newcomer, all others being at work", "10.0.2.3-1")
	for _, conn := range c.all {
		c.state(conn, http.StateClosed)
	}
	if len(c.connections.all) != 0 || len(c.origins) != 0 || c.silent.Len() != 0 || c.idle.Len() != 0 {
		t.Errorf("left: %d connections of %d addresses, %d silent, %d idle", len(c.connections.all), len(c.origins), c.silent.Len(), c.idle.Len())
	}
}

// Whoever asks once on each of many connections, and keeps them, takes its part of them and no more; the next to come takes
// the place of the one that has waited longest for another request, and of none at work.
func TestConnectionsBetweenTwoRequestsMakeRoom(t *testing.T) {
	c := newCrowd(16) // an address has at most four
	for i := range 4 {
		address := fmt.Sprintf("10.0.0.%d", i+1)
		for port := range 4 {
			name := fmt.Sprintf("%s-%d", address, port+1)
			c.all[name] = &fakeConn{name: name, address: testkit.Must(net.ResolveTCPAddr("tcp", fmt.Sprintf("%s:%d", address, 1000+port)))(t)}
			c.become(http.StateNew, name)
			c.become(http.StateActive, name)
			if port > 0 {
				c.become(http.StateIdle, name)
			}
		}
	}
	c.expectClosed(t, "as many as there may be")
	c.come("10.0.1.1", 1)
	c.become(http.StateActive, "10.0.1.1-1")
	c.expectClosed(t, "a new address", "10.0.0.1-2")
	c.all["more"] = &fakeConn{name: "more", address: c.all["10.0.0.3-1"].address}
	c.become(http.StateNew, "more")
	c.become(http.StateActive, "more")
	c.expectClosed(t, "an address that has its part", "10.0.0.3-2")
	c.become(http.StateActive, "10.0.0.3-3", "10.0.0.3-4")
	c.all["most"] = &fakeConn{name: "most", address: c.all["10.0.0.3-1"].address}
	c.become(http.StateNew, "most")
	c.expectClosed(t, "an address that is at work on its whole part", "most")
}

// Whoever is evicted may read nothing any more: what TLS says at a connection's end would wait for that, and with it everybody
// who comes or goes.
func TestAnEvictionWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		served := tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}})
		peer := tls.Client(ours, &tls.Config{InsecureSkipVerify: true})
		go func() {
			testkit.Check(t, peer.Handshake())
			_, _ = peer.Read(make([]byte, 1)) // the tickets, up to the first byte
		}()
		testkit.Check(t, served.Handshake())
		_, _ = served.Write([]byte{1})
		synctest.Wait()
		c := newConnections(1, addressOf)
		c.state(served, http.StateNew)
		c.state(served, http.StateActive)
		c.state(served, http.StateIdle)
		begun := time.Now()
		c.state(&fakeConn{address: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}}, http.StateNew)
		if took := time.Since(begun); took != 0 || len(c.all) != 1 || c.all[served] != nil {
			t.Errorf("it took %v, and %d connections are left", took, len(c.all))
		}
		if _, err := io.Copy(io.Discard, ours); err != nil {
			t.Errorf("the evicted connection is not closed: %v", err)
		}
	})
}

// selfSigned is a certificate that nothing vouches for.
func selfSigned(t *testing.T) tls.Certificate {
	pub, key, err := ed25519.GenerateKey(nil)
	testkit.Check(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	return tls.Certificate{Certificate: [][]byte{testkit.Must(x509.CreateCertificate(nil, template, template, pub, key))(t)}, PrivateKey: key}
}

// An address of version 6 is as good as all others of its network.
func TestANetworkIsOneAddress(t *testing.T) {
	c := newCrowd(256) // eight silent for an address
	for i := range 20 {
		c.come(fmt.Sprintf("2001:db8::%d", i+1), 1)
	}
	c.come("2001:db8:0:1::1", 8)
	c.come("::ffff:10.0.0.1", 4)
	c.come("10.0.0.1", 4)
	open := 0
	for _, conn := range c.all {
		if !conn.closed {
			open++
		}
	}
	if open != 8+8+8 || len(c.origins) != 3 {
		t.Errorf("%d connections of %d networks are open, want 24 of 3", open, len(c.origins))
	}
}

func TestSilentConnectionsShutNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Options{MaxConns: 16, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "whole")
		})})
		var open atomic.Int64
		for range 400 {
			c := testkit.Must(f.pipes.dial(t.Context(), "", ""))(t)
			open.Add(1)
			go func() {
				_, _ = io.Copy(io.Discard, c)
				open.Add(-1)
			}()
		}
		synctest.Wait()
		if n := open.Load(); n != 16 {
			t.Errorf("%d silent connections are open, want 16", n)
		}
		if text, err := f.get("/"); text != "whole" {
			t.Errorf("beside silent ones: %q, %v", text, err)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if n := open.Load(); n != 0 {
			t.Errorf("%d silent connections are open after their time", n)
		}
	})
}

func TestAHandshakeThatDoesNotComeEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		conf := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("not asked for") }}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = Run(t.Context(), tls.NewListener(p, conf), Options{Handler: http.NotFoundHandler()})
		}()
		begun := time.Now()
		c := testkit.Must(p.dial(t.Context(), "", ""))(t)
		_, _ = c.Write([]byte{22, 3, 1}) // a handshake's beginning, and nothing behind it
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took != 10*time.Second {
			t.Errorf("it was ended after %v", took)
		}
		testkit.Check(t, p.Close())
		<-ended
	})
}

// Whoever asks again and again fills no log; others are told of beside them, and how often is not lost.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, log := testkit.NewLogger()
		m := NewMux(MuxOptions{Logger: logger})
		m.Handle("GET /closed", ProblemJSON, func(http.ResponseWriter, *http.Request) error { return Unauthenticated.With("") })
		m.Handle("GET /broken", ProblemJSON, func(http.ResponseWriter, *http.Request) error { return errors.New("broken") })
		m.Handle("GET /open", ProblemJSON, func(w http.ResponseWriter, r *http.Request) error {
			Annotate(r.Context(), slog.String("gate", r.URL.Query().Get("gate")))
			return nil
		})
		paths := []string{"/closed", "/nowhere", "/broken", "/open?gate=a"}
		ask := func(times int, paths ...string) {
			for range times {
				for _, path := range paths {
					m.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
				}
			}
		}
		ask(3000, paths...)
		ask(1, "/open?gate=b")
		if n := log.Count("msg=request "); n != 4*maxLines+1 {
			t.Errorf("%d lines about 12,001 requests, want %d", n, 4*maxLines+1)
		}
		if n := log.Count("request failed"); n != maxLines {
			t.Errorf("%d lines about 3,000 faults, want %d", n, maxLines)
		}
		if log.Count("gate=b") != 1 {
			t.Error("another gate's request is not told of")
		}
		time.Sleep(time.Minute)
		ask(1, paths...)
		if n := log.Count(fmt.Sprintf("count=%d", 3000-maxLines+1)); n != 5 {
			t.Errorf("a minute later %d lines say for how many they stand, want 5:\n%s", n, strings.Join(strings.Split(log.String(), "\n")[5*maxLines:], "\n"))
		}
	})
}

func sorted(names []string) string {
	slices.Sort(names)
	return strings.Join(names, " ")
}
