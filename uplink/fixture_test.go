package uplink

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

const (
	testFacility visit.Facility = "cafe-7"
	testGate     visit.Gate     = "door-1"
	testCode                    = "K7Q2-99XA"
)

// authority signs certificates for servers and terminals.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	return key
}

func newAuthority(t testing.TB) authority {
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, caTemplate, caTemplate, &key.PublicKey, key)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return authority{key, cert, pool}
}

var caTemplate = &x509.Certificate{
	SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
	NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
	IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
}

func (a authority) sign(t testing.TB, template *x509.Certificate, key *ecdsa.PublicKey) []byte {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	check(t, err)
	template.SerialNumber = serial
	if template.NotBefore.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(90*24*time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key, a.key)
	check(t, err)
	return der
}

func (a authority) server(t testing.TB, names ...string) tls.Certificate {
	key := newKey(t)
	template := &x509.Certificate{DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	if len(names) > 0 {
		template.IPAddresses = nil
	}
	return tls.Certificate{Certificate: [][]byte{a.sign(t, template, &key.PublicKey)}, PrivateKey: key}
}

func (a authority) terminal(t testing.TB, key *ecdsa.PublicKey, f visit.Facility, g visit.Gate) []byte {
	return a.sign(t, &x509.Certificate{URIs: []*url.URL{wire.TerminalURI(f, g)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, key)
}

// memory is a journal without a disk. It notices when a record is settled that the server does not hold.
type memory struct {
	mu         sync.Mutex
	id         visit.JournalID
	prev       visit.Chain
	epochs     []visit.Epoch
	appended   map[uint64][]byte
	waiting    []visit.Sealed
	quarantine map[uint64]string
	signal     chan struct{}
	stored     func(seq uint64) bool
	early      int                             // settled but not stored
	peekErrs   []error                         // of the next calls
	settleErrs []struct{ before, after error } // of the next calls: with nothing done, or with it done
	settles    int
	empty      chan struct{} // closed when the last record is settled; nil when nobody waits
}

func newMemory(n int) *memory {
	m := &memory{
		id: visit.JournalID{1}, signal: make(chan struct{}), appended: map[uint64][]byte{}, quarantine: map[uint64]string{},
		epochs: []visit.Epoch{{First: 1, Enc: make([]byte, visit.EncSize)}},
	}
	m.prev = visit.Genesis(m.id)
	m.append(n)
	return m
}

func (m *memory) append(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range n {
		data := make([]byte, 90)
		rand.Read(data)
		r := visit.Sealed{Seq: uint64(len(m.appended) + 1), Data: data}
		m.appended[r.Seq] = data
		m.waiting = append(m.waiting, r)
	}
	close(m.signal)
	m.signal = make(chan struct{})
}

func (m *memory) Wait() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.signal
}

func (m *memory) Peek(maxRecords, maxBytes int) (visit.Segment, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.peekErrs) > 0 {
		err := m.peekErrs[0]
		m.peekErrs = m.peekErrs[1:]
		return visit.Segment{}, err
	}
	n := min(maxRecords, len(m.waiting))
	return visit.Segment{Journal: m.id, Prev: m.prev, Epochs: m.epochs, Records: m.waiting[:n:n]}, nil
}

func (m *memory) Settle(s visit.Settlement) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settles++
	var fault struct{ before, after error }
	if len(m.settleErrs) > 0 {
		fault, m.settleErrs = m.settleErrs[0], m.settleErrs[1:]
	}
	if fault.before != nil {
		return fault.before
	}
	if s.Journal != m.id {
		return errors.New("settlement for another journal")
	}
	for _, r := range s.Refused {
		m.quarantine[r.Seq] = r.Reason
	}
	for len(m.waiting) > 0 && m.waiting[0].Seq <= s.Through {
		if _, refused := m.quarantine[m.waiting[0].Seq]; !refused && m.stored != nil && !m.stored(m.waiting[0].Seq) {
			m.early++
		}
		m.prev = m.prev.Next(m.waiting[0])
		m.waiting = m.waiting[1:]
	}
	if len(m.waiting) == 0 && m.empty != nil {
		close(m.empty)
		m.empty = nil
	}
	return fault.after
}

// awaitEmpty returns once everything has been settled.
func (m *memory) awaitEmpty() {
	m.mu.Lock()
	if len(m.waiting) == 0 {
		m.mu.Unlock()
		return
	}
	empty := make(chan struct{})
	m.empty = empty
	m.mu.Unlock()
	<-empty
}

func (m *memory) backlog() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.waiting)
}

// central is a visit server that keeps visits in memory, each once, and can be told to misbehave.
type central struct {
	t         testing.TB
	authority authority
	url       *url.URL
	seal      visit.SealPrivateKey

	mu        sync.Mutex
	visits    map[uint64][]byte
	conflicts int
	bare      bool // count only
	count     int
	batches   int
	beats     int
	conns     int
	serials   map[string]bool
	code      string
	codeKey   []byte // whose key has used up the code
	trust     uint64
	// fault is asked for each request before anything else; it returns true when it has dealt with the request.
	fault func(w http.ResponseWriter, r *http.Request, body []byte) bool
	issue func(f visit.Facility, g visit.Gate, key *ecdsa.PublicKey) []byte
}

func newCentral(t testing.TB) *central {
	seal, err := visit.GenerateSealKey()
	check(t, err)
	c := &central{t: t, authority: newAuthority(t), seal: seal, visits: map[uint64][]byte{}, serials: map[string]bool{}, code: testCode, trust: 1}
	c.issue = func(f visit.Facility, g visit.Gate, key *ecdsa.PublicKey) []byte {
		return c.authority.terminal(t, key, f, g)
	}
	return c
}

// serve begins to answer on a listener; start does so on a loopback port.
func (c *central) serve(l net.Listener, cert tls.Certificate) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+wire.PathVisits, c.takeVisits)
	mux.HandleFunc("POST "+wire.PathHeartbeat, c.takeBeat)
	mux.HandleFunc("POST "+wire.PathEnrol, c.enrol)
	mux.HandleFunc("POST "+wire.PathRenew, c.renew)
	mux.HandleFunc("GET "+wire.PathProvision, func(w http.ResponseWriter, r *http.Request) { c.answer(w, wire.TypeProvision, c.provision()) })
	s := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(io.LimitReader(r.Body, wire.MaxRequest+1))
			if err != nil {
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			if r.URL.Path != wire.PathEnrol && len(r.TLS.VerifiedChains) == 0 {
				c.refuse(w, 401, wire.CodeBadRequest, "no certificate")
				return
			}
			c.mu.Lock()
			fault := c.fault
			if len(r.TLS.PeerCertificates) > 0 {
				c.serials[r.TLS.PeerCertificates[0].SerialNumber.String()] = true
			}
			c.mu.Unlock()
			if fault == nil || !fault(w, r, body) {
				mux.ServeHTTP(w, r)
			}
		}),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: c.authority.pool, MinVersion: tls.VersionTLS13},
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, 0),
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				c.mu.Lock()
				c.conns++
				c.mu.Unlock()
			}
		},
	}
	done := make(chan struct{})
	go func() { defer close(done); s.ServeTLS(l, "", "") }()
	c.t.Cleanup(func() { s.Close(); <-done })
}

func (c *central) start() *central {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(c.t, err)
	c.url = &url.URL{Scheme: "https", Host: l.Addr().String()}
	c.serve(l, c.authority.server(c.t))
	return c
}

func (c *central) answer(w http.ResponseWriter, contentType string, m any) {
	b, err := wire.Encode(m)
	if err != nil {
		c.t.Error(err)
	}
	w.Header().Set("Content-Type", contentType)
	w.Write(b)
}

func (c *central) refuse(w http.ResponseWriter, status int, code, detail string) {
	b, _ := wire.Encode(wire.Problem{Code: code, Detail: detail})
	w.Header().Set("Content-Type", wire.TypeProblem)
	w.WriteHeader(status)
	w.Write(b)
}

func (c *central) provision() wire.Provision {
	return wire.Provision{SealKey: c.seal.Public().Bytes(), TrustList: []byte("signed elsewhere")}
}

func (c *central) receipt(s visit.Settlement) wire.Receipt {
	c.mu.Lock()
	defer c.mu.Unlock()
	return wire.Receipt{Settled: s, ServerTime: time.Now().UnixMilli(), Trust: c.trust, SealKey: c.seal.Public().ID(), Gather: 10}
}

// store keeps the first n records of a batch.
func (c *central) store(body []byte, n int) visit.Segment {
	b, err := wire.DecodeBatch(body)
	if err != nil {
		c.t.Error(err)
		return visit.Segment{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.batches++
	for _, r := range b.Segment.Records[:min(n, len(b.Segment.Records))] {
		if c.bare {
			c.count++
			continue
		}
		if old, held := c.visits[r.Seq]; held && !bytes.Equal(old, r.Data) {
			c.conflicts++
		}
		c.visits[r.Seq] = r.Data
	}
	return b.Segment
}

func (c *central) takeVisits(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s := c.store(body, wire.MaxRecords)
	c.answer(w, wire.TypeReceipt, c.receipt(visit.Settlement{Journal: s.Journal, Through: s.Through()}))
}

func (c *central) takeBeat(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if _, err := wire.Decode[wire.Heartbeat](body); err != nil {
		c.t.Error(err)
	}
	c.mu.Lock()
	c.beats++
	c.mu.Unlock()
	c.answer(w, wire.TypeReceipt, c.receipt(visit.Settlement{}))
}

func (c *central) csr(der []byte) *ecdsa.PublicKey {
	csr, err := x509.ParseCertificateRequest(der)
	check(c.t, err)
	check(c.t, csr.CheckSignature())
	return csr.PublicKey.(*ecdsa.PublicKey)
}

// enrol answers a used code again for the same key, as protocol/wire/SPEC.md asks.
func (c *central) enrol(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	req, err := wire.Decode[wire.EnrolRequest](body)
	check(c.t, err)
	key := c.csr(req.CSR)
	raw, err := x509.MarshalPKIXPublicKey(key)
	check(c.t, err)
	c.mu.Lock()
	good := req.Code == c.code && (c.codeKey == nil || bytes.Equal(c.codeKey, raw))
	if good {
		c.codeKey = raw
	}
	c.mu.Unlock()
	if !good {
		c.refuse(w, 403, wire.CodeBadCode, "no such code: "+req.Code)
		return
	}
	c.answer(w, wire.TypeEnrolment, wire.Enrolment{Certificate: c.issue(testFacility, testGate, key), Provision: c.provision()})
}

func (c *central) renew(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	req, err := wire.Decode[wire.RenewRequest](body)
	check(c.t, err)
	f, g, err := wire.ParseTerminalURI(r.TLS.PeerCertificates[0].URIs[0])
	check(c.t, err)
	c.answer(w, wire.TypeEnrolment, wire.Enrolment{Certificate: c.issue(f, g, c.csr(req.CSR)), Provision: c.provision()})
}

func (c *central) setFault(f func(w http.ResponseWriter, r *http.Request, body []byte) bool) {
	c.mu.Lock()
	c.fault = f
	c.mu.Unlock()
}

func (c *central) holds(seq uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.visits[seq]
	return ok
}

// gateSide is a gate as far as its uplink sees it.
type gateSide struct {
	t       testing.TB
	journal *memory
	server  *central
	dir     string
	log     *lockedBuffer
	refuse  error // of Provision
	mu      sync.Mutex
	taken   []wire.Provision
	times   []time.Time
	trust   uint64
	faults  []string
	changed chan struct{} // a status change or a settlement may have happened; buffered
}

func newGateSide(t testing.TB, c *central, n int) *gateSide {
	g := &gateSide{t: t, journal: newMemory(n), server: c, dir: t.TempDir(), log: &lockedBuffer{}, changed: make(chan struct{}, 1)}
	g.journal.stored = c.holds
	return g
}

// enrolled puts an identity into the gate's folder.
func (g *gateSide) enrolled() *gateSide {
	id, err := OpenIdentity(g.dir)
	check(g.t, err)
	key := newKey(g.t)
	check(g.t, id.store(fileTerminal, key, g.server.issue(testFacility, testGate, &key.PublicKey)))
	check(g.t, id.keepProvision(g.server.provision()))
	g.trust = 1
	return g
}

func (g *gateSide) Holding() (uint64, visit.SealKeyID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.trust == 0 {
		return 0, visit.SealKeyID{}
	}
	return g.trust, g.server.seal.Public().ID()
}

func (g *gateSide) Provision(p wire.Provision) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refuse != nil {
		return g.refuse
	}
	g.taken = append(g.taken, p)
	g.server.mu.Lock()
	g.trust = g.server.trust
	g.server.mu.Unlock()
	return nil
}

func (g *gateSide) uplink(change func(*Options)) *Uplink {
	id, err := OpenIdentity(g.dir)
	check(g.t, err)
	o := Options{
		Server: g.server.url, CA: g.server.authority.pool, Facility: testFacility, Gate: testGate, Code: testCode, Identity: id,
		Source: g.journal, Provision: g,
		Heartbeat: func() wire.Heartbeat {
			return wire.Heartbeat{Version: "test", Backlog: uint64(g.journal.backlog()), Faults: g.faults}
		},
		OnServerTime: func(at time.Time, rtt time.Duration) {
			g.mu.Lock()
			g.times = append(g.times, at.Add(rtt/2))
			g.mu.Unlock()
		},
		OnStatus: func(Status) {
			select {
			case g.changed <- struct{}{}:
			default:
			}
		},
		Log: slog.New(slog.NewTextHandler(g.log, nil)),
	}
	if change != nil {
		change(&o)
	}
	u, err := New(o)
	check(g.t, err)
	u.draw = func() float64 { return 0 } // the shortest of all delays
	return u
}

// run runs u until done, which is asked again and again, and fails after a generous time.
func (g *gateSide) run(u *Uplink, done func() bool) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- u.Run(ctx) }()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			<-ended
			g.t.Fatalf("not done in time: backlog %d, status %+v, log:\n%s", g.journal.backlog(), u.Status(), g.log)
		case <-tick.C:
		case <-g.changed:
		}
	}
	cancel()
	check(g.t, <-ended)
}

func (g *gateSide) drained() bool { return g.journal.backlog() == 0 }

// checkLedger holds journal and server against each other: everything appended is at the server, once, with the same
// bytes, or in quarantine; nothing was let go of before the server had it; nothing else is at the server.
func (g *gateSide) checkLedger() {
	g.t.Helper()
	g.journal.mu.Lock()
	defer g.journal.mu.Unlock()
	g.server.mu.Lock()
	defer g.server.mu.Unlock()
	if n := len(g.journal.waiting); n != 0 {
		g.t.Errorf("%d records were not delivered", n)
	}
	if g.journal.early != 0 {
		g.t.Errorf("%d records were settled without the server having them", g.journal.early)
	}
	if g.server.conflicts != 0 {
		g.t.Errorf("%d records arrived in two versions", g.server.conflicts)
	}
	want := 0
	for seq, data := range g.journal.appended {
		if _, refused := g.journal.quarantine[seq]; refused {
			continue
		}
		want++
		if !bytes.Equal(g.server.visits[seq], data) {
			g.t.Errorf("record %d is not at the server as it was appended", seq)
		}
	}
	if len(g.server.visits) != want {
		g.t.Errorf("server holds %d records, want %d", len(g.server.visits), want)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lockedBuffer) count(s string) int { return strings.Count(l.String(), s) }

// counted is a connection that is counted while open.
type counted struct {
	net.Conn
	once *sync.Once
	open *atomic.Int32
}

func (c counted) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

func ignore(wire.Receipt) {}

func noFaults() wire.Heartbeat { return wire.Heartbeat{Version: "test"} }
