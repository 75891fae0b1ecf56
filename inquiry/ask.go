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
	"strings"
	"time"

	"github.com/kipass/kipass/protocol/order"
)

// Endpoint is a party to be asked: its URL and the only authorities its certificate may come from.
type Endpoint struct {
	URL   string // https://host[:port]
	Roots *x509.CertPool
}

// askTimeout bounds one question; a full answer takes the other side seconds.
const askTimeout = 2 * time.Minute

// post sends one message and returns the answer, which must have the content type expected: anything else is not the
// party's but that of something in between.
func (e Endpoint) post(ctx context.Context, contentType string, body []byte, expect string) ([]byte, error) {
	if e.Roots == nil {
		return nil, errors.New("no certificate authority is given for it")
	}
	if !strings.HasPrefix(e.URL, "https://") {
		return nil, fmt.Errorf("its URL %q does not begin with https://", e.URL)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: e.Roots},
		DisableKeepAlives: true,
	}
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(e.URL, "/")+order.PathOrders, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("asking: %w", err)
	}
	req.Header.Set("Content-Type", contentType)
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
		p, err := order.DecodeProblem(answer)
		if err != nil {
			return nil, fmt.Errorf("reading the refusal of %s (%s): %w", e.URL, resp.Status, err)
		}
		return nil, fmt.Errorf("%s: %w", e.URL, &p)
	}
	if resp.StatusCode != http.StatusOK || got != expect {
		return nil, fmt.Errorf("%s answers %s with %q, which is no answer to an order", e.URL, resp.Status, got)
	}
	return answer, nil
}
