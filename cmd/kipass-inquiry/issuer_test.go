package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/token"
)

// issuerProgram is where kipass-issuer is built, once for all tests that need it: an issuer is another party, so it is
// never linked into this program.
var issuerProgram = sync.OnceValues(func() (string, error) {
	path := filepath.Join(programs, "kipass-issuer")
	out, err := exec.Command("go", "build", "-o", path, "github.com/kipass/kipass/cmd/kipass-issuer").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building kipass-issuer: %w\n%s", err, out)
	}
	return path, nil
})

func issuerCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and starts kipass-issuer")
	}
	return exec.Command(testkit.Must(issuerProgram())(t), args...)
}

// kipassIssuer runs a command of kipass-issuer that has to succeed and returns its standard output.
func kipassIssuer(t *testing.T, args ...string) string {
	t.Helper()
	cmd := issuerCommand(t, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("kipass-issuer %s: %v\n%s", args[0], err, stderr.String())
	}
	return string(out)
}

// issuerProcess is a running kipass-issuer.
type issuerProcess struct {
	dir, url string
	cmd      *exec.Cmd
	client   *http.Client
	stderr   *testkit.Buffer
	sent     *testkit.Buffer // what came through a recorder
}

func (p *issuerProcess) received() []byte { return p.sent.Bytes() }

// record puts a recorder before each issuer: the trust list is signed anew with the recorders' addresses.
func (f *fixture) record(t *testing.T) {
	t.Helper()
	list := testkit.Must(token.OpenTrustList(f.root.Public().(ed25519.PublicKey), testkit.Must(os.ReadFile(f.path("trust.list")))(t)))(t)
	for i, about := range list.Issuers {
		p := f.issuers[about.Name]
		p.sent = &testkit.Buffer{}
		to := testkit.Must(url.Parse(p.url))(t)
		proxy := &httputil.ReverseProxy{
			Transport: p.client.Transport,
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(to)
				for name, values := range r.In.Header {
					fmt.Fprintln(p.sent, name, values)
				}
				fmt.Fprintln(p.sent, r.In.URL)
				r.Out.Body = io.NopCloser(io.TeeReader(r.In.Body, p.sent))
			},
		}
		s := httptest.NewTLSServer(proxy)
		t.Cleanup(s.Close)
		ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
		testkit.Check(t, os.WriteFile(p.ca()+".recorder", ca, 0o644))
		list.Issuers[i].URL = s.URL
	}
	list.Version++
	testkit.Check(t, os.WriteFile(f.path("trust.list"), testkit.Must(token.SignTrustList(f.root, list))(t), 0o644))
}

func startIssuer(t *testing.T, dir, listen string) *issuerProcess {
	t.Helper()
	p := &issuerProcess{dir: dir, stderr: &testkit.Buffer{}}
	p.cmd = issuerCommand(t, "serve", "--data", dir, "--listen", listen, "--registration", "open", "--rate", "0")
	p.cmd.Stderr = p.stderr
	out := testkit.Must(p.cmd.StdoutPipe())(t)
	testkit.Check(t, p.cmd.Start())
	t.Cleanup(p.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if err != nil || !ok {
		p.kill()
		t.Fatalf("issuer says %q: %v\n%s", line, err, p.stderr)
	}
	p.url = url
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(testkit.Must(os.ReadFile(p.ca()))(t))
	p.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	return p
}

func (p *issuerProcess) ca() string { return filepath.Join(p.dir, "ca.pem") }

func (p *issuerProcess) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

func (p *issuerProcess) post(t *testing.T, path, bearer string, body, answer any) {
	t.Helper()
	b := testkit.Must(json.Marshal(body))(t)
	req := testkit.Must(http.NewRequest(http.MethodPost, p.url+path, bytes.NewReader(b)))(t)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+bearer)
	resp := testkit.Must(p.client.Do(req))(t)
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		t.Fatalf("%s answers %s", path, resp.Status)
	}
	testkit.Check(t, json.NewDecoder(resp.Body).Decode(answer))
}

// visitor registers and returns the function that shows a code, as a gate reads it.
func (p *issuerProcess) visitor(t *testing.T, trust *token.Trust, name, phone string) func() token.Code {
	var account struct{ Token string }
	p.post(t, "/v1/holders", "", map[string]any{"name": name, "phone": phone, "consent": true}, &account)
	return func() token.Code {
		t.Helper()
		var code struct{ Text string }
		p.post(t, "/v1/codes", account.Token, nil, &code)
		return testkit.Must(testkit.Must(token.Parse([]byte(code.Text)))(t).Verify(trust))(t)
	}
}
