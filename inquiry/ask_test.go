package inquiry

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/order"
)

func TestABusyPartyIsAskedAgainWhenItSaid(t *testing.T) {
	for name, tt := range map[string]struct {
		status     int
		retryAfter string
		refusals   int32 // before it answers
		asked      int32
		says       string // "" where it answers in the end
	}{
		"busy once":                {http.StatusServiceUnavailable, "0", 1, 2, ""},
		"busy again and again":     {http.StatusServiceUnavailable, "0", 99, maxAttempts, "try again in 0s"},
		"busy for an hour":         {http.StatusServiceUnavailable, "3600", 99, 1, "try again in 1h0m0s"},
		"busy for a negative time": {http.StatusServiceUnavailable, "-1", 99, 1, "refused (busy)"},
		"busy, without a time":     {http.StatusServiceUnavailable, "", 99, 1, "refused (busy)"},
		"another refusal":          {http.StatusForbidden, "0", 99, 1, "refused (busy)"},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) > tt.refusals {
					w.Header().Set("Content-Type", order.TypeVisitAnswer)
					w.Write([]byte("answer"))
					return
				}
				b, err := order.EncodeProblem(order.Problem{Code: order.CodeBusy, Detail: "later"})
				if err != nil {
					t.Error(err)
				}
				w.Header().Set("Content-Type", order.TypeProblem)
				w.Header().Set("Retry-After", tt.retryAfter)
				w.WriteHeader(tt.status)
				w.Write(b)
			}))
			defer s.Close()
			roots := x509.NewCertPool()
			roots.AddCert(s.Certificate())
			m := message{contentType: order.TypeOrder, body: []byte("order"), answerType: order.TypeVisitAnswer}
			answer, err := Endpoint{URL: s.URL, Roots: roots}.post(t.Context(), m)
			if asked.Load() != tt.asked {
				t.Errorf("asked %d times, want %d", asked.Load(), tt.asked)
			}
			if tt.says == "" {
				testkit.Check(t, err)
				if string(answer) != "answer" {
					t.Errorf("answer %q", answer)
				}
			} else if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("post = %v, want one that says %q", err, tt.says)
			}
		})
	}
}
