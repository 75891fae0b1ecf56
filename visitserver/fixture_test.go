package visitserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
	"github.com/kipass/kipass/visitserver/store/embedded"
)

// noon is a moment in the middle of a day in Seoul.
var noon = time.Date(2020, 7, 1, 12, 0, 0, 0, day.Seoul())

// fixture is a server that runs on a folder, behind real TLS on loopback.
type fixture struct {
	retryAfter atomic.Int64 // seconds, of the last answer
	t          testing.TB
	folder     Folder
	clock      *testkit.Clock
	elapsed    func() time.Duration // running time; nil: by clock
	wake       chan time.Time
	life       time.Duration // of certificates; 0: the default
	log        *testkit.Buffer
	addr       string
	stop       func()
}

// shortDir is a temporary folder whose path leaves room for a unix socket's.
func shortDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "kv")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "v") // its secrets lie beside it
}

func newFixture(t testing.TB) *fixture {
	fx := &fixture{t: t, folder: Folder{Dir: shortDir(t)}, clock: testkit.NewClock(noon), wake: make(chan time.Time), log: &testkit.Buffer{}}
	testkit.Check(t, fx.folder.Init([]string{"localhost", "127.0.0.1"}, fx.clock.Now()))
	fx.start()
	return fx
}

func (fx *fixture) start() {
	fx.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := Config{
		Folder: fx.folder, Logger: slog.New(slog.NewTextHandler(fx.log, nil)), Now: fx.clock.Now, Elapsed: fx.elapsed, Wake: fx.wake,
		TerminalLife: fx.life,
	}
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- serve(ctx, c, "127.0.0.1:0", func(addr string) { ready <- addr })
	}()
	select {
	case fx.addr = <-ready:
	case err := <-done:
		cancel()
		fx.t.Fatalf("server did not start: %v", err)
	}
	fx.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			fx.t.Errorf("server ended with: %v", err)
		}
	})
	fx.t.Cleanup(fx.stop)
}

// serve runs a server on the store and the socket of the folder that c names, as cmd/kipass-visits does.
func serve(ctx context.Context, c Config, listen string, ready func(addr string)) error {
	var err error
	if c.Secrets, err = c.Folder.Unlock(); err != nil {
		return err
	}
	st, err := embedded.Open(c.Folder.Visits(), embedded.Options{})
	if err != nil {
		return err
	}
	c.Store = st
	if c.Public, err = net.Listen("tcp", listen); err != nil {
		return errors.Join(err, st.Close())
	}
	_ = os.Remove(c.Folder.Socket()) // of a server that was killed
	if c.Operator, err = net.Listen("unix", c.Folder.Socket()); err != nil {
		return errors.Join(err, c.Public.Close(), st.Close())
	}
	c.Ready = func() { ready(c.Public.Addr().String()) }
	return errors.Join(Run(ctx, c), st.Close())
}

func (fx *fixture) restart() {
	fx.t.Helper()
	fx.stop()
	fx.start()
}

// admin runs an operator's command and reads its result.
func (fx *fixture) admin(result any, command string, args ...string) {
	fx.t.Helper()
	if err := fx.tryAdmin(result, AdminRequest{Command: command, Args: args}); err != nil {
		fx.t.Fatalf("%s: %v", command, err)
	}
}

func (fx *fixture) tryAdmin(result any, req AdminRequest) error {
	raw, err := fx.folder.Admin(context.Background(), req)
	if err != nil || result == nil {
		return err
	}
	return json.Unmarshal(raw, result)
}

func (fx *fixture) roots() *x509.CertPool {
	fx.t.Helper()
	b, err := os.ReadFile(filepath.Join(fx.folder.Dir, "server-ca.pem"))
	if err != nil {
		fx.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if block, _ := pem.Decode(b); block == nil || !pool.AppendCertsFromPEM(b) {
		fx.t.Fatal("server-ca.pem holds no certificate")
	}
	return pool
}

// client returns a client that shows cert, if it is not nil. It keeps one connection.
func (fx *fixture) client(cert *tls.Certificate) *http.Client {
	conf := &tls.Config{RootCAs: fx.roots(), Time: fx.clock.Now, ServerName: "localhost"}
	if cert != nil {
		conf.Certificates = []tls.Certificate{*cert}
	}
	transport := &http.Transport{TLSClientConfig: conf, MaxConnsPerHost: 1}
	fx.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// post sends a request and returns the answer's status, content type and body.
func (fx *fixture) post(c *http.Client, path, contentType string, body []byte) (int, string, []byte, error) {
	resp, err := c.Post("https://"+fx.addr+path, contentType, bytes.NewReader(body))
	if err != nil {
		return 0, "", nil, err
	}
	defer resp.Body.Close()
	after, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	fx.retryAfter.Store(int64(after))
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header.Get("Content-Type"), b, err
}

// ask sends a message and decodes the answer; a refusal is a *wire.Problem.
func ask[T any](fx *fixture, c *http.Client, path, reqType string, message any, respType string) (T, error) {
	var zero T
	b, err := wire.Encode(message)
	if err != nil {
		return zero, err
	}
	status, got, answer, err := fx.post(c, path, reqType, b)
	if err != nil {
		return zero, err
	}
	if status != http.StatusOK {
		if got != wire.TypeProblem {
			return zero, fmt.Errorf("status %d with content type %q", status, got)
		}
		p, err := wire.Decode[wire.Problem](answer)
		if err != nil {
			return zero, err
		}
		return zero, &p
	}
	if got != respType {
		return zero, fmt.Errorf("content type %q, want %q", got, respType)
	}
	return wire.Decode[T](answer)
}

// problem returns the code of the refusal that err is, or "".
func problem(err error) string {
	var p *wire.Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return ""
}

func (fx *fixture) ledger() Ledger {
	fx.t.Helper()
	var l Ledger
	fx.admin(&l, "ledger")
	return l
}

func (fx *fixture) stored(f visit.Facility) uint64 {
	fx.t.Helper()
	for _, row := range fx.ledger().Facilities {
		if row.Facility == f {
			return row.Stored
		}
	}
	fx.t.Fatalf("facility %s is not in the ledger", f)
	return 0
}

// get asks without a body.
func get[T any](fx *fixture, c *http.Client, path, respType string) (T, error) {
	var zero T
	resp, err := c.Get("https://" + fx.addr + path)
	if err != nil {
		return zero, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return zero, err
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != respType {
		return zero, fmt.Errorf("status %d, content type %q", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	return wire.Decode[T](b)
}
