package visitserver

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
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
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
	"github.com/kipass/kipass/visitserver/store/embedded"
)

// noon is a moment in the middle of a day in Seoul.
var noon = time.Date(2020, 7, 1, 12, 0, 0, 0, day.Seoul())

// driven is a clock that tests set.
type driven struct{ ms atomic.Int64 }

func (c *driven) Now() time.Time      { return time.UnixMilli(c.ms.Load()) }
func (c *driven) Set(t time.Time)     { c.ms.Store(t.UnixMilli()) }
func (c *driven) Add(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// rig is a server that runs on a folder, behind real TLS on loopback.
type rig struct {
	t       testing.TB
	folder  Folder
	clock   *driven
	elapsed func() time.Duration // running time; nil: by clock
	wake    chan time.Time
	log     *safeBuffer
	addr    string
	stop    func()
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) Bytes() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.b.Bytes())
}

// shortDir is a temporary folder whose path leaves room for a unix socket's.
func shortDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "kv")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func newRig(t testing.TB) *rig {
	r := &rig{t: t, folder: Folder{Dir: shortDir(t)}, clock: &driven{}, wake: make(chan time.Time), log: &safeBuffer{}}
	r.clock.Set(noon)
	if err := r.folder.Init([]string{"localhost", "127.0.0.1"}, r.clock.Now()); err != nil {
		t.Fatal(err)
	}
	r.start()
	return r
}

func (r *rig) start() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := Config{
		Folder: r.folder, Logger: slog.New(slog.NewTextHandler(r.log, nil)), Now: r.clock.Now, Elapsed: r.elapsed, Wake: r.wake,
	}
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- serve(ctx, c, "127.0.0.1:0", func(addr string) { ready <- addr })
	}()
	select {
	case r.addr = <-ready:
	case err := <-done:
		cancel()
		r.t.Fatalf("server did not start: %v", err)
	}
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("server ended with: %v", err)
		}
	})
	r.t.Cleanup(r.stop)
}

// serve runs a server on the store and the socket of the folder that c names, as cmd/kipass-visits does.
func serve(ctx context.Context, c Config, listen string, ready func(addr string)) error {
	var err error
	if c.Secrets, err = c.Folder.Secrets(); err != nil {
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

func (r *rig) restart() {
	r.t.Helper()
	r.stop()
	r.start()
}

// admin runs an operator's command and reads its result.
func (r *rig) admin(result any, command string, args ...string) {
	r.t.Helper()
	if err := r.tryAdmin(result, AdminRequest{Command: command, Args: args}); err != nil {
		r.t.Fatalf("%s: %v", command, err)
	}
}

func (r *rig) tryAdmin(result any, req AdminRequest) error {
	raw, err := r.folder.Admin(context.Background(), req)
	if err != nil || result == nil {
		return err
	}
	return json.Unmarshal(raw, result)
}

func (r *rig) roots() *x509.CertPool {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(r.folder.Dir, "server-ca.pem"))
	if err != nil {
		r.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if block, _ := pem.Decode(b); block == nil || !pool.AppendCertsFromPEM(b) {
		r.t.Fatal("server-ca.pem holds no certificate")
	}
	return pool
}

// client returns a client that shows cert, if it is not nil. It keeps one connection.
func (r *rig) client(cert *tls.Certificate) *http.Client {
	conf := &tls.Config{RootCAs: r.roots(), Time: r.clock.Now, ServerName: "localhost"}
	if cert != nil {
		conf.Certificates = []tls.Certificate{*cert}
	}
	transport := &http.Transport{TLSClientConfig: conf, MaxConnsPerHost: 1}
	r.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// post sends a request and returns the answer's status, content type and body.
func (r *rig) post(c *http.Client, path, contentType string, body []byte) (int, string, []byte, error) {
	resp, err := c.Post("https://"+r.addr+path, contentType, bytes.NewReader(body))
	if err != nil {
		return 0, "", nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header.Get("Content-Type"), b, err
}

// ask sends a message and decodes the answer; a refusal is a *wire.Problem.
func ask[T any](r *rig, c *http.Client, path, reqType string, message any, respType string) (T, error) {
	var zero T
	b, err := wire.Encode(message)
	if err != nil {
		return zero, err
	}
	status, got, answer, err := r.post(c, path, reqType, b)
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

func newKeyAndCSR(t testing.TB) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return key, csr
}

// gate is the device's side: an enrolled terminal with a journal.
type gate struct {
	r        *rig
	facility visit.Facility
	name     visit.Gate
	client   *http.Client
	cert     tls.Certificate
	sealKey  visit.SealPublicKey

	journal visit.JournalID
	sealer  *visit.Sealer
	prev    visit.Chain // before records[0]
	records []visit.Sealed
	next    uint64
}

func (r *rig) facility(f visit.Facility) {
	r.t.Helper()
	r.admin(nil, "facility add", string(f))
}

func (r *rig) code(f visit.Facility, g visit.Gate) string {
	r.t.Helper()
	var out struct{ Code string }
	r.admin(&out, "terminal add", string(f), string(g))
	return out.Code
}

func (r *rig) enrol(code string, csr []byte) (wire.Enrolment, error) {
	return ask[wire.Enrolment](r, r.client(nil), wire.PathEnrol, wire.TypeEnrol, wire.EnrolRequest{Code: code, CSR: csr}, wire.TypeEnrolment)
}

// gate enrols a terminal of an existing facility.
func (r *rig) gate(f visit.Facility, g visit.Gate) *gate {
	r.t.Helper()
	key, csr := newKeyAndCSR(r.t)
	e, err := r.enrol(r.code(f, g), csr)
	if err != nil {
		r.t.Fatalf("enrolling %s/%s: %v", f, g, err)
	}
	d := &gate{r: r, facility: f, name: g, cert: tls.Certificate{Certificate: [][]byte{e.Certificate}, PrivateKey: key}}
	d.client = r.client(&d.cert)
	if d.sealKey, err = visit.ParseSealPublicKey(e.Provision.SealKey); err != nil {
		r.t.Fatal(err)
	}
	d.newJournal()
	return d
}

func (d *gate) newJournal() {
	d.journal = visit.JournalID{}
	_, _ = rand.Read(d.journal[:])
	d.prev, d.records, d.next = visit.Genesis(d.journal), nil, 1
	d.newEpoch()
}

func (d *gate) newEpoch() {
	var err error
	if d.sealer, err = visit.NewSealer(d.sealKey, d.facility, d.name, d.next); err != nil {
		d.r.t.Fatal(err)
	}
}

func newVisit(at time.Time) visit.Visit {
	v := visit.Visit{At: at, Issuer: "naver", Clock: visit.ClockSynced, Skew: 2 * time.Second}
	_, _ = rand.Read(v.CTI[:])
	return v
}

// journalled appends visits to the gate's journal.
func (d *gate) journalled(visits ...visit.Visit) {
	for _, v := range visits {
		b, err := v.Marshal()
		if err != nil {
			d.r.t.Fatal(err)
		}
		d.sealed(b)
	}
}

func (d *gate) sealed(record []byte) {
	d.records = append(d.records, visit.Sealed{Seq: d.next, Data: d.sealer.Seal(nil, d.next, record)})
	d.next++
}

// segment is the journal's first n undelivered records, which all lie in the current epoch.
func (d *gate) segment(n int) visit.Segment {
	return visit.Segment{Journal: d.journal, Prev: d.prev, Epochs: []visit.Epoch{d.sealer.Epoch()}, Records: d.records[:n]}
}

func (d *gate) send(s visit.Segment) (wire.Receipt, error) {
	return ask[wire.Receipt](d.r, d.client, wire.PathVisits, wire.TypeBatch, wire.Batch{Segment: s}, wire.TypeReceipt)
}

// settle forgets the records up to through.
func (d *gate) settle(through uint64) {
	for len(d.records) > 0 && d.records[0].Seq <= through {
		d.prev = d.prev.Next(d.records[0])
		d.records = d.records[1:]
	}
}

// deliver sends everything, fails the test unless it is taken, and settles it.
func (d *gate) deliver() wire.Receipt {
	d.r.t.Helper()
	receipt, err := d.send(d.segment(len(d.records)))
	if err != nil {
		d.r.t.Fatalf("sending a batch: %v", err)
	}
	if want := d.records[len(d.records)-1].Seq; receipt.Settled.Through != want || receipt.Settled.Journal != d.journal {
		d.r.t.Fatalf("receipt settles %v through %d, want %v through %d", receipt.Settled.Journal, receipt.Settled.Through, d.journal, want)
	}
	d.settle(receipt.Settled.Through)
	return receipt
}

func (r *rig) ledger() Ledger {
	r.t.Helper()
	var l Ledger
	r.admin(&l, "ledger")
	return l
}

func (r *rig) stored(f visit.Facility) uint64 {
	r.t.Helper()
	for _, row := range r.ledger().Facilities {
		if row.Facility == f {
			return row.Stored
		}
	}
	r.t.Fatalf("facility %s is not in the ledger", f)
	return 0
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func sha256Hex(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }

// get asks without a body.
func get[T any](r *rig, c *http.Client, path, respType string) (T, error) {
	var zero T
	resp, err := c.Get("https://" + r.addr + path)
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
