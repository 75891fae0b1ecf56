package uplink

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"

	"github.com/kipass/kipass/protocol/wire"
)

// client speaks the terminal interface of one visit server (protocol/wire/SPEC.md). One connection is kept while it is used.
type client struct {
	base    *url.URL
	http    *http.Client
	timeout time.Duration // for one whole exchange
	clock   func() (now time.Time, known bool)
	onTime  func(server time.Time, rtt time.Duration) // server time of every receipt; nil: nobody wants it
	onDate  func(wrong bool)                          // whether a connection failed because of the date, or did not
	askTime func(ctx context.Context) error           // nil: the server may not be asked
}

const (
	maxStep   = 10 * time.Second // for each of: connecting, TLS handshake
	idleClose = 10 * time.Second // an unused connection is closed
	maxHeader = 16 << 10
)

// newClient returns a client that trusts no certificate authority but those of the options. certificate is asked at each
// handshake; nil means that there is none yet.
func newClient(opts Options, certificate func() *tls.Certificate, onDate func(bool)) *client {
	carry := opts.Network.Transport
	if carry == nil {
		carry = func(certificate func() *tls.Certificate) http.RoundTripper {
			return newTwoHellos(opts.hello, newTransport(opts, authentic(opts, certificate)))
		}
	}
	c := &client{
		base: opts.Server, timeout: opts.Timeout, clock: opts.Time, onTime: opts.OnServerTime, onDate: onDate,
		http: &http.Client{Transport: carry(certificate), CheckRedirect: noRedirect},
	}
	if !opts.PublicCA && opts.OnServerTime != nil {
		c.askTime = timeAsker(opts, opts.OnServerTime)
	}
	return c
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// authentic is the handshake in which both sides prove who they are.
func authentic(opts Options, certificate func() *tls.Certificate) *tls.Config {
	return &tls.Config{
		RootCAs: opts.CA,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if c := certificate(); c != nil {
				return c, nil
			}
			return &tls.Certificate{}, nil
		},
		// A gate without a clock starts in 1970; its own certificate proves that it is later.
		Time: func() time.Time {
			t, known := opts.Time()
			if c := certificate(); !known && c != nil && t.Before(c.Leaf.NotBefore) {
				return c.Leaf.NotBefore
			}
			return t
		},
	}
}

// newTransport returns TLS 1.3 over the network of the options.
func newTransport(opts Options, handshake *tls.Config) *http.Transport {
	handshake.MinVersion = tls.VersionTLS13
	return &http.Transport{
		DialContext:            opts.Network.Dial,
		TLSHandshakeTimeout:    opts.stepTimeout(),
		TLSClientConfig:        handshake,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        idleClose,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true,
		Proxy:                  http.ProxyURL(opts.Proxy), // nil: none, whatever the environment says
	}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// SendBatch delivers a batch.
func (c *client) SendBatch(ctx context.Context, b wire.Batch) (wire.Receipt, error) {
	return c.receipt(ctx, wire.PathVisits, wire.TypeBatch, b)
}

// SendHeartbeat delivers a heartbeat.
func (c *client) SendHeartbeat(ctx context.Context, h wire.Heartbeat) (wire.Receipt, error) {
	return c.receipt(ctx, wire.PathHeartbeat, wire.TypeHeartbeat, h)
}

func (c *client) receipt(ctx context.Context, path, contentType string, message any) (wire.Receipt, error) {
	r, rtt, err := exchange[wire.Receipt](ctx, c, path, contentType, message, wire.TypeReceipt)
	if err == nil && c.onTime != nil && r.ServerTime > 0 {
		c.onTime(time.UnixMilli(r.ServerTime), rtt)
	}
	return r, err
}

func (c *client) enrol(ctx context.Context, r wire.EnrolRequest) (wire.Enrolment, error) {
	e, _, err := exchange[wire.Enrolment](ctx, c, wire.PathEnrol, wire.TypeEnrol, r, wire.TypeEnrolment)
	return e, err
}

func (c *client) renew(ctx context.Context, r wire.RenewRequest) (wire.Enrolment, error) {
	e, _, err := exchange[wire.Enrolment](ctx, c, wire.PathRenew, wire.TypeEnrol, r, wire.TypeEnrolment)
	return e, err
}

func (c *client) provision(ctx context.Context) (wire.Provision, error) {
	p, _, err := exchange[wire.Provision](ctx, c, wire.PathProvision, "", nil, wire.TypeProvision)
	return p, err
}

// exchange sends a message (none: GET) and reads the answer strictly. rtt is from the last byte sent to the first byte
// received, so neither connecting nor a slow upload is part of it.
func exchange[T any](ctx context.Context, c *client, path, contentType string, message any, expected string) (answer T, rtt time.Duration, err error) {
	var none T
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var t moments
	ctx = t.trace(ctx)
	method, body := http.MethodGet, []byte(nil)
	if message != nil {
		method = http.MethodPost
		if body, err = wire.Encode(message); err != nil {
			return none, 0, fmt.Errorf("encoding for %s: %w", path, err)
		}
		if len(body) > wire.MaxRequest {
			return none, 0, fmt.Errorf("%w: %d bytes for %s", errTooLarge, len(body), path)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath(path).String(), bytes.NewReader(body))
	if err != nil {
		return none, 0, fmt.Errorf("request for %s: %w", path, err)
	}
	req.Header.Set("Accept", expected)
	req.Header.Set("User-Agent", "kipass-gate")
	if message != nil {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return none, 0, transportError(c.redate(ctx, err), t.connected())
	}
	defer resp.Body.Close()
	c.onDate(false)
	b, err := io.ReadAll(io.LimitReader(resp.Body, wire.MaxResponse+1))
	if err != nil {
		return none, 0, transportError(err, t.connected())
	}
	answer, err = readAnswer[T](resp, b, expected, c.clock)
	if err != nil {
		return none, 0, err
	}
	return answer, t.rtt(), nil
}

// moments of one exchange. The transport may report from other goroutines, even after the exchange has ended.
type moments struct {
	mu                     sync.Mutex
	connect, wrote, answer time.Time
}

func (m *moments) trace(ctx context.Context) context.Context {
	note := func(t *time.Time) {
		m.mu.Lock()
		*t = time.Now()
		m.mu.Unlock()
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:              func(httptrace.GotConnInfo) { note(&m.connect) },
		WroteRequest:         func(httptrace.WroteRequestInfo) { note(&m.wrote) },
		GotFirstResponseByte: func() { note(&m.answer) },
	})
}

func (m *moments) connected() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.connect.IsZero()
}

// rtt counts from when the connection was there if the end of writing was reported late or not at all: too long, never
// too short.
func (m *moments) rtt() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	sent := m.wrote
	if sent.IsZero() || sent.After(m.answer) {
		sent = m.connect
	}
	return max(m.answer.Sub(sent), 0)
}

// transportError tells a link that is too slow for what was sent from one that is not there.
func transportError(err error, connected bool) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var n net.Error
	if connected && (errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout()) {
		return fmt.Errorf("%w: %w", errSlow, err)
	}
	return fmt.Errorf("visit server not reached: %w", err)
}
