package inquiry

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kipass/kipass/protocol/order"
)

// Endpoint is a party to be asked: its URL and the only authorities its certificate may come from.
type Endpoint struct {
	URL   string // https://host[:port]
	Roots *x509.CertPool
	// Transport carries the questions in place of TLS under Roots, for tests and simulations; nil: TLS 1.3.
	Transport http.RoundTripper
}

const (
	// askTimeout bounds one question, with all that is waited for it; a full answer takes the other side seconds.
	askTimeout = 2 * time.Minute
	// maxRetryAfter is the longest pause that a party which is busy may ask for.
	maxRetryAfter = 30 * time.Second
	// maxAttempts is how often one message is sent to a party that is busy.
	maxAttempts = 3
)

// message is what a party is sent, and the content type that its answer must have: anything else is not the party's but
// that of something in between.
type message struct {
	contentType string
	body        []byte
	answerType  string
}

// post sends one message and returns the answer. A party that is busy is asked again when it said.
func (e Endpoint) post(ctx context.Context, m message) ([]byte, error) {
	if e.Roots == nil && e.Transport == nil {
		return nil, errors.New("no certificate authority is given for it")
	}
	if !strings.HasPrefix(e.URL, "https://") {
		return nil, fmt.Errorf("its URL %q does not begin with https://", e.URL)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	carry := e.Transport
	if carry == nil {
		carry = &http.Transport{
			TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: e.Roots},
			DisableKeepAlives: true,
		}
	}
	client := &http.Client{
		Transport:     carry,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for attempt := 1; ; attempt++ {
		answer, err := e.attempt(ctx, client, m)
		var busy *busyError
		if !errors.As(err, &busy) || attempt == maxAttempts || busy.retryAfter > maxRetryAfter {
			return answer, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(busy.retryAfter):
		}
	}
}

func (e Endpoint) attempt(ctx context.Context, client *http.Client, m message) ([]byte, error) {
	url := strings.TrimSuffix(e.URL, "/") + order.PathOrders
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(m.body))
	if err != nil {
		return nil, fmt.Errorf("asking: %w", err)
	}
	req.Header.Set("Content-Type", m.contentType)
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, order.MaxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", e.URL, err)
	}
	got, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if got == order.TypeProblem {
		return nil, e.refusal(resp, answer)
	}
	if resp.StatusCode != http.StatusOK || got != m.answerType {
		return nil, fmt.Errorf("%s answers %s with %q, which is no answer to an order", e.URL, resp.Status, got)
	}
	return answer, nil
}

// busyError is a refusal that asks for the same message again later.
type busyError struct {
	problem    order.Problem
	retryAfter time.Duration
}

func (b *busyError) Error() string {
	return fmt.Sprintf("%v (try again in %v)", &b.problem, b.retryAfter)
}

// refusal reads a party's refusal.
func (e Endpoint) refusal(resp *http.Response, body []byte) error {
	p, err := order.DecodeProblem(body)
	if err != nil {
		return fmt.Errorf("reading the refusal of %s (%s): %w", e.URL, resp.Status, err)
	}
	seconds, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16)
	if resp.StatusCode == http.StatusServiceUnavailable && err == nil {
		return fmt.Errorf("%s: %w", e.URL, &busyError{problem: p, retryAfter: time.Duration(seconds) * time.Second})
	}
	return fmt.Errorf("%s: %w", e.URL, &p)
}
