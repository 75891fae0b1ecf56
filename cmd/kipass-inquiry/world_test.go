package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kipass/kipass/inquiry"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
)

// issuerProcess is a running kipass-issuer.
type issuerProcess struct {
	name, dir, url string
	cmd            *exec.Cmd
	client         *http.Client
	stderr         *lockedBuffer
}

// lockedBuffer may be read while the process still writes.
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

func startIssuer(t *testing.T, dir, name, listen string) *issuerProcess {
	t.Helper()
	p := &issuerProcess{name: name, dir: dir, stderr: &lockedBuffer{}}
	p.cmd = exec.Command(filepath.Join(programs, "kipass-issuer"), "serve", "-data", dir, "-listen", listen, "-registration", "open", "-rate", "0")
	p.cmd.Stderr = p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if err != nil || !ok {
		p.kill()
		t.Fatalf("issuer says %q: %v\n%s", line, err, p.stderr)
	}
	p.url = url
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	p.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	return p
}

func (p *issuerProcess) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Signal(syscall.SIGKILL)
		_ = p.cmd.Wait()
	}
}

func (p *issuerProcess) post(t *testing.T, path, bearer string, body, answer any) {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, p.url+path, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+bearer)
	resp, err := p.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		t.Fatalf("%s answers %s", path, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		t.Fatal(err)
	}
}

// visitor registers and returns the function that shows a code, as a gate reads it.
func (p *issuerProcess) visitor(t *testing.T, trust *token.Trust, name, phone string) func() token.Code {
	var account struct{ Token string }
	p.post(t, "/v1/holders", "", map[string]any{"name": name, "phone": phone, "consent": true}, &account)
	return func() token.Code {
		t.Helper()
		var code struct{ Text string }
		p.post(t, "/v1/codes", account.Token, nil, &code)
		u, err := token.Parse([]byte(code.Text))
		if err != nil {
			t.Fatal(err)
		}
		c, err := u.Verify(trust)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

// visitServer stands in for the visit server: it checks orders with the same package and gives out the scans it is told.
type visitServer struct {
	*httptest.Server
	officers order.Officers
	mu       sync.Mutex
	scans    []order.Scan
	asked    int
}

func startVisitServer(t *testing.T, officers order.Officers) *visitServer {
	v := &visitServer{officers: officers}
	v.Server = httptest.NewUnstartedServer(http.HandlerFunc(v.orders))
	v.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	v.StartTLS()
	t.Cleanup(v.Close)
	return v
}

func (v *visitServer) ca(t *testing.T, path string) string {
	t.Helper()
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: v.Certificate().Raw})
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func (v *visitServer) orders(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked++
	raw, err := io.ReadAll(io.LimitReader(r.Body, order.MaxOrder+1))
	if err != nil || r.URL.Path != order.PathOrders || r.Header.Get("Content-Type") != order.TypeOrder {
		http.NotFound(w, r)
		return
	}
	o, err := order.Verify(raw, v.officers, time.Now())
	if err != nil {
		b, _ := order.EncodeProblem(order.Problem{Code: "order-refused", Detail: err.Error()})
		w.Header().Set("Content-Type", order.TypeProblem)
		w.WriteHeader(http.StatusForbidden)
		w.Write(b)
		return
	}
	a := order.VisitAnswer{Entry: 41, Order: o.ID}
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
	v.add(order.Scan{At: c.IssuedAt().Add(time.Second), Facility: f, Gate: g, Issuer: c.Issuer(), CTI: visit.CTI(c.CTI())})
}

func (v *visitServer) add(s order.Scan) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.scans = append(v.scans, s)
}

func (v *visitServer) timesAsked() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.asked
}

// world is all parties but the gates.
type world struct {
	dir, home, root string
	trust           *token.Trust
	visits          *visitServer
	issuers         map[string]*issuerProcess
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func newWorld(t *testing.T, issuers ...string) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), issuers: map[string]*issuerProcess{}}
	w.home = w.path("authority")
	must(t, kipassInquiry(t, "init", "--data", w.home))
	var register []string
	for _, name := range []string{"kim", "lee"} {
		line := must(t, kipassInquiry(t, "officer", "keygen", "--output", w.path(name+".key"), name))
		register = append(register, line)
		must(t, kipassInquiry(t, append([]string{"officer", "add", "--data", w.home}, strings.Fields(line)...)...))
	}
	officers, err := order.ParseOfficers([]byte(strings.Join(register, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	w.visits = startVisitServer(t, officers)
	w.visits.ca(t, w.path("visits-ca.pem"))
	w.root = must(t, program(t, "kipass-scheme", "init", "--root-key", w.path("root.key")))
	sign := []string{"sign", "--root-key", w.path("root.key"), "--list-version", "1", "--output", w.path("trust.list")}
	for _, name := range issuers {
		dir := w.path(name)
		must(t, program(t, "kipass-issuer", "init", "-data", dir, "-name", name, "-display", "발급회사 "+name, "-host", "127.0.0.1"))
		for _, line := range register {
			must(t, program(t, "kipass-issuer", append([]string{"officer", "add", "-data", dir}, strings.Fields(line)...)...))
		}
		w.issuers[name] = startIssuer(t, dir, name, "127.0.0.1:0")
		card := must(t, program(t, "kipass-issuer", "public-key", "-data", dir, "-url", w.issuers[name].url))
		if err := os.WriteFile(w.path(name+".json"), []byte(card), 0o644); err != nil {
			t.Fatal(err)
		}
		sign = append(sign, w.path(name+".json"))
	}
	must(t, program(t, "kipass-scheme", sign...))
	raw, err := os.ReadFile(w.path("trust.list"))
	if err != nil {
		t.Fatal(err)
	}
	w.trust = token.NewTrust(publicRoot(t, w.root))
	if err := w.trust.Update(raw); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) orderArgs(file string) []string {
	now := time.Now()
	return []string{"order", "--data", w.home, "--officer-key", w.path("kim.key"), "--officer", "kim", "--case", "2020-17", "--purpose", "접촉자 조사",
		"--facility", "hongdae-12", "--from", now.Add(-time.Hour).Format(time.RFC3339), "--to", now.Add(time.Minute).Format(time.RFC3339), "--output", w.path(file)}
}

func (w *world) approved(t *testing.T) (id, file string) {
	t.Helper()
	id = must(t, kipassInquiry(t, w.orderArgs("order.signed")...))
	must(t, kipassInquiry(t, "approve", "--data", w.home, "--officer-key", w.path("lee.key"), "--yes", "--output", w.path("order.approved"), w.path("order.signed")))
	return id, w.path("order.approved")
}

func (w *world) run(t *testing.T, file string) (outcome, inquiry.Summary) {
	t.Helper()
	args := []string{"run", "--data", w.home, "--visits", w.visits.URL, "--visits-ca", w.path("visits-ca.pem"), "--trust-list", w.path("trust.list"), "--trust-root", w.root, "--json"}
	for name := range w.issuers {
		args = append(args, "--issuer-ca", name+"="+filepath.Join(w.dir, name, "ca.pem"))
	}
	o := kipassInquiry(t, append(args, file)...)
	var s inquiry.Summary
	if o.stdout != "" {
		if err := json.Unmarshal([]byte(o.stdout), &s); err != nil {
			t.Fatalf("summary %q: %v", o.stdout, err)
		}
	}
	return o, s
}

func publicRoot(t *testing.T, text string) ed25519.PublicKey {
	t.Helper()
	var pub ed25519.PublicKey
	if err := json.Unmarshal([]byte(`"`+text+`"`), &pub); err != nil || len(pub) != ed25519.PublicKeySize {
		t.Fatalf("root key %q: %v", text, err)
	}
	return pub
}
