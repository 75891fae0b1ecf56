package bench

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/kipass/kipass/lab/internal/process"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// central is a visit server in a process of its own, with one facility and one gate.
type central struct {
	dir     string
	url     string
	code    string // enrolment code of the gate
	process *process.Process
}

func startCentral(ctx context.Context, s *site, who scheme) (*central, error) {
	c := &central{dir: s.path("visits")}
	command := func(args ...string) (string, error) { return s.programs.Run(ctx, "kipass-visits", args...) }
	if _, err := command("init", "--data", c.dir); err != nil {
		return nil, err
	}
	var err error
	c.process, c.url, err = s.programs.Start(ctx, "ready", nil, "kipass-visits", "serve", "--data", c.dir, "--listen", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	list := s.path("trust.list")
	if err := os.WriteFile(list, who.list, 0o600); err != nil {
		return nil, c.failed(err)
	}
	for _, args := range [][]string{
		{"trust-root", "--data", c.dir, hex.EncodeToString(who.root)},
		{"trust-list", "--data", c.dir, list},
		{"facility", "add", "--data", c.dir, string(benchFacility), "서울 카페"},
	} {
		if _, err := command(args...); err != nil {
			return nil, c.failed(err)
		}
	}
	raw, err := command("terminal", "add", "--data", c.dir, string(benchFacility), string(benchGate))
	if err != nil {
		return nil, c.failed(err)
	}
	var terminal struct {
		Code string `json:"code"`
	}
	if err := json.Unmarshal([]byte(raw), &terminal); err != nil || terminal.Code == "" {
		return nil, c.failed(fmt.Errorf("no enrolment code in the answer of terminal add: %v", err))
	}
	c.code = terminal.Code
	return c, nil
}

// failed ends the process because of err.
func (c *central) failed(err error) error {
	c.process.Kill()
	return err
}

func (c *central) close() error { return c.process.Stop() }

func (c *central) ca() string { return filepath.Join(c.dir, "server-ca.pem") }

func (c *central) authorities() (*x509.CertPool, error) {
	pem, err := os.ReadFile(c.ca())
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", c.ca())
	}
	return pool, nil
}

// stored asks how many visits the server holds of the facility.
func (c *central) stored(ctx context.Context, s *site) (uint64, error) {
	raw, err := s.programs.Run(ctx, "kipass-visits", "ledger", "--data", c.dir)
	if err != nil {
		return 0, err
	}
	var ledger struct {
		Facilities []struct {
			Facility visit.Facility `json:"facility"`
			Stored   uint64         `json:"stored"`
		} `json:"facilities"`
	}
	if err := json.Unmarshal([]byte(raw), &ledger); err != nil {
		return 0, fmt.Errorf("ledger: %w", err)
	}
	for _, f := range ledger.Facilities {
		if f.Facility == benchFacility {
			return f.Stored, nil
		}
	}
	return 0, fmt.Errorf("the ledger does not name facility %s", benchFacility)
}

// connect returns what sends the gate's messages over one kept connection. certificate is nil before it has one.
func (c *central) connect(certificate *tls.Certificate) (sender, error) {
	pool, err := c.authorities()
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}
	if certificate != nil {
		config.Certificates = []tls.Certificate{*certificate}
	}
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: config, MaxConnsPerHost: 1}}
	return func(ctx context.Context, path, contentType string, body []byte) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", contentType)
		resp, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, err
		}
		return answer, accepted(path, resp.StatusCode, answer)
	}, nil
}

// sender sends one message to a visit server and returns its answer.
type sender func(ctx context.Context, path, contentType string, body []byte) ([]byte, error)

// accepted returns the refusal that an answer is, nil if it is none.
func accepted(path string, status int, answer []byte) error {
	if status == http.StatusOK {
		return nil
	}
	if p, err := wire.Decode[wire.Problem](answer); err == nil {
		return &p
	}
	return fmt.Errorf("%s was answered with status %d", path, status)
}

// enrol trades an enrolment code for a terminal's certificate and the server's sealing key.
func enrol(ctx context.Context, send sender, code string) (*tls.Certificate, visit.SealPublicKey, error) {
	var none visit.SealPublicKey
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, none, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, none, err
	}
	body, err := wire.Encode(wire.EnrolRequest{Code: code, CSR: csr})
	if err != nil {
		return nil, none, err
	}
	answer, err := send(ctx, wire.PathEnrol, wire.TypeEnrol, body)
	if err != nil {
		return nil, none, fmt.Errorf("enrolling: %w", err)
	}
	e, err := wire.Decode[wire.Enrolment](answer)
	if err != nil {
		return nil, none, fmt.Errorf("enrolling: %w", err)
	}
	leaf, err := x509.ParseCertificate(e.Certificate)
	if err != nil {
		return nil, none, fmt.Errorf("enrolling: %w", err)
	}
	seal, err := visit.ParseSealPublicKey(e.Provision.SealKey)
	return &tls.Certificate{Certificate: [][]byte{e.Certificate}, PrivateKey: key, Leaf: leaf}, seal, err
}
