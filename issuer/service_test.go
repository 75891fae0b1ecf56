package issuer

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/visit"
)

// running is an issuer served over TLS on loopback.
type running struct {
	url    string
	client *http.Client
	log    *testkit.Buffer
	stop   func()
}

func serve(t *testing.T, f *fixture, registration string) *running {
	t.Helper()
	f.close(t)
	ca := testkit.Must(os.ReadFile(filepath.Join(f.dir, CAFile)))(t)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	logger, log := testkit.NewLogger()
	r := &running{log: log}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Time: f.clock.Now}, ForceAttemptHTTP2: true}
	r.client = &http.Client{Transport: transport}
	listener := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- Run(ctx, Config{
			Dir: f.dir, Listener: listener, Registration: registration, CodesPerMinute: 3, Now: f.clock.Now,
			Ready: func(url string) { ready <- url }, Logger: logger,
		})
	}()
	select {
	case r.url = <-ready:
	case err := <-ended:
		t.Fatalf("Run = %v", err)
	}
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		transport.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	}
	t.Cleanup(r.stop)
	return r
}

func (r *running) post(t *testing.T, path, contentType, bearer string, body []byte) (*http.Response, []byte) {
	t.Helper()
	req := testkit.Must(http.NewRequest(http.MethodPost, r.url+path, bytes.NewReader(body)))(t)
	req.Header.Set("Content-Type", contentType)
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp := testkit.Must(r.client.Do(req))(t)
	defer resp.Body.Close()
	b := testkit.Must(io.ReadAll(resp.Body))(t)
	return resp, b
}

func (r *running) get(t *testing.T, path string) (int, string) {
	t.Helper()
	resp := testkit.Must(r.client.Get(r.url + path))(t)
	defer resp.Body.Close()
	return resp.StatusCode, string(testkit.Must(io.ReadAll(resp.Body))(t))
}

func (r *running) register(t *testing.T, body string) (int, string) {
	t.Helper()
	resp, b := r.post(t, PathHolders, httpserver.TypeJSON, "", []byte(body))
	status := resp.StatusCode
	var answer struct{ Token, Code string }
	if err := json.Unmarshal(b, &answer); err != nil {
		t.Fatalf("%d %s: %v", status, b, err)
	}
	if refused := status >= 400; refused != (resp.Header.Get("Content-Type") == httpserver.TypeProblemJSON) {
		t.Errorf("%d of content type %s", status, resp.Header.Get("Content-Type"))
	}
	return status, answer.Token + answer.Code
}

func TestServiceFromConsentToContact(t *testing.T) {
	f := newFixture(t)
	r := serve(t, f, RegisterOpen)
	status, bearer := r.register(t, `{"name":"`+testName+`","phone":"`+testPhone+`","consent":true}`)
	if status != http.StatusCreated || len(bearer) != 43 {
		t.Fatalf("registration: %d, bearer of %d characters", status, len(bearer))
	}
	var codes []visit.CTI
	var texts []string
	for range 3 {
		resp, b := r.post(t, PathCodes, "", bearer, nil)
		var c CodeResponse
		if err := json.Unmarshal(b, &c); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("code: %s, %v", resp.Status, err)
		}
		if !c.IssuedAt.Equal(noon) || c.ExpiresAt.Sub(c.IssuedAt) != 15*time.Second {
			t.Errorf("code is of %v to %v", c.IssuedAt, c.ExpiresAt)
		}
		texts = append(texts, c.Text)
	}
	resp, b := r.post(t, PathCodes, "", bearer, nil)
	wait := resp.Header.Get("Retry-After")
	if resp.StatusCode != http.StatusTooManyRequests || !bytes.Contains(b, []byte(`"too-many-codes"`)) || wait == "" {
		t.Errorf("fourth code within a minute: %s, Retry-After %q, %s", resp.Status, wait, b)
	}
	r.stop()
	f.reopen(t, durable.Disk{})
	for _, text := range texts {
		codes = append(codes, visit.CTI(f.read(t, text).CTI()))
	}
	r = serve(t, f, RegisterOpen)
	resp, sealed := r.post(t, order.PathOrders, order.TypeQuestion, "", question(t, f.approved(t, f.order()), codes...))
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != order.TypeIssuerAnswer {
		t.Fatalf("order: %s %s", resp.Status, resp.Header.Get("Content-Type"))
	}
	if resp.ProtoMajor != 2 {
		t.Errorf("answered in %s", resp.Proto)
	}
	a, err := order.OpenIssuerAnswer(sealed, f.authority)
	if err != nil || len(a.Holders) != 3 || a.Holders[0].Name != testName || a.Holders[0].Phone != testE164 {
		t.Fatalf("%d holders, %v", len(a.Holders), err)
	}
}

func TestServiceRefuses(t *testing.T) {
	f := newFixture(t)
	r := serve(t, f, RegisterByToken)
	proof := testkit.Must(f.operator().AddToken("desk-1"))(t)
	good := `{"name":"` + testName + `","phone":"` + testPhone + `","consent":true,"proof":"` + proof + `"}`
	for name, tt := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"no consent":          {strings.Replace(good, "true", "false", 1), http.StatusForbidden, "consent-required"},
		"consent left out":    {strings.Replace(good, `"consent":true,`, "", 1), http.StatusForbidden, "consent-required"},
		"no operator's token": {`{"name":"a","phone":"010-1234-5678","consent":true}`, http.StatusForbidden, "bad-identity"},
		"bad phone":           {strings.Replace(good, testPhone, "12", 1), http.StatusUnprocessableEntity, "bad-phone"},
		"bad name":            {strings.Replace(good, testName, "12", 1), http.StatusUnprocessableEntity, "bad-name"},
		"not JSON":            {"name=a", http.StatusBadRequest, "bad-request"},
		"unknown field":       {`{"nickname":"a"}`, http.StatusBadRequest, "bad-request"},
		"bytes after its end": {good + "{}", http.StatusBadRequest, "bad-request"},
		"larger than is read": {`{"name":"` + strings.Repeat("a", maxBody) + `"}`, http.StatusRequestEntityTooLarge, "too-large"},
	} {
		if status, code := r.register(t, tt.body); status != tt.status || code != tt.code {
			t.Errorf("%s: %d %s, want %d %s", name, status, code, tt.status, tt.code)
		}
	}
	resp, b := r.post(t, PathHolders, "text/plain", "", []byte(good))
	if resp.StatusCode != http.StatusUnsupportedMediaType || !bytes.Contains(b, []byte(`"unsupported-type"`)) {
		t.Errorf("another content type: %s %s", resp.Status, b)
	}
	if status, bearer := r.register(t, good); status != http.StatusCreated || len(bearer) != 43 {
		t.Errorf("with the token: %d", status)
	}
	testkit.Check(t, f.operator().RevokeToken("desk-1"))
	if status, code := r.register(t, good); status != http.StatusForbidden || code != "bad-identity" {
		t.Errorf("with a token that was revoked: %d %s", status, code)
	}
	resp, b = r.post(t, PathCodes, "", "", nil)
	asked := resp.Header.Get("WWW-Authenticate")
	if resp.StatusCode != http.StatusUnauthorized || !bytes.Contains(b, []byte("unknown-account")) || asked != "Bearer" {
		t.Errorf("code without bearer: %s, WWW-Authenticate %q, %s", resp.Status, asked, b)
	}
	stranger := f.order()
	stranger.Officer = "nobody"
	forged := testkit.Must(order.Approve(f.lee, f.signed(t, officerKey(9), stranger)))(t)
	forged = testkit.Must(order.ForIssuer(forged))(t)
	code := visit.CTI{1}
	for name, tt := range map[string]struct {
		contentType string
		body        []byte
		status      int
		code        string
	}{
		"forged order":       {order.TypeQuestion, question(t, forged, code), http.StatusForbidden, "order-refused"},
		"garbage":            {order.TypeQuestion, []byte("garbage"), http.StatusBadRequest, "bad-order"},
		"too large":          {order.TypeQuestion, make([]byte, order.MaxQuestion+1), http.StatusRequestEntityTooLarge, "too-large"},
		"other content type": {"application/cbor", question(t, f.approved(t, f.order()), code), http.StatusUnsupportedMediaType, "unsupported-type"},
	} {
		resp, b := r.post(t, order.PathOrders, tt.contentType, "", tt.body)
		contentType := resp.Header.Get("Content-Type")
		p, err := order.DecodeProblem(b)
		if resp.StatusCode != tt.status || contentType != order.TypeProblem || err != nil || p.Code != tt.code {
			t.Errorf("%s: %s %s %+v %v, want %d %s", name, resp.Status, contentType, p, err, tt.status, tt.code)
		}
	}
	if _, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: x509.NewCertPool()}}}).Get(r.url); err == nil {
		t.Error("a client without the issuer's authority talks to it")
	}
}

func TestLogsHoldNothingOfAnyone(t *testing.T) {
	f := newFixture(t)
	r := serve(t, f, RegisterOpen)
	secrets := []string{testName, testPhone, testE164, "98765432"}
	_, bearer := r.register(t, `{"name":"`+testName+`","phone":"`+testPhone+`","consent":true}`)
	r.register(t, `{"name":"`+testName+`","phone":"`+testPhone+`x","consent":true}`)
	r.register(t, `{"name":"`+testName+`","phone":"`+testPhone+`","consent":`)
	_, b := r.post(t, PathCodes, "", bearer, nil)
	var c CodeResponse
	testkit.Check(t, json.Unmarshal(b, &c))
	r.post(t, PathCodes, "", bearer+"x", nil)
	r.post(t, order.PathOrders, order.TypeQuestion, "", []byte(testName))
	// A key that cannot be read is an error of the issuer's own, and is logged.
	r.stop()
	f.reopen(t, durable.Disk{})
	code := f.read(t, c.Text)
	cti := code.CTI()
	if _, err := f.keys.Make(day.Of(noon)); err != nil {
		t.Fatal(err)
	}
	first := r.log.String()
	key := filepath.Join(f.dir, "keys", day.Of(noon).String()+".key")
	testkit.Check(t, errors.Join(os.Remove(key), os.Mkdir(key, 0o700)))
	r = serve(t, f, RegisterOpen)
	if resp, _ := r.post(t, PathCodes, "", bearer, nil); resp.StatusCode != http.StatusInternalServerError {
		t.Fatalf("code under an unreadable key: %s", resp.Status)
	}
	r.stop()
	all := first + r.log.String()
	if !strings.Contains(all, "request failed") || !strings.Contains(all, "a question could not be read") {
		t.Fatalf("the log does not show what was played: %s", all)
	}
	for i, s := range append(secrets, bearer, c.Text, string(cti[:])) {
		if strings.Contains(all, s) {
			t.Errorf("the log shows secret %d", i)
		}
	}
}
