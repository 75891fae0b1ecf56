package uplink

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kipass/kipass/protocol/wire"
)

// ErrNotServer is wrapped by errors about answers that are not the visit server's own.
var ErrNotServer = errors.New("a captive portal or proxy answered, not the visit server")

var (
	errTooLarge = errors.New("request is too large")
	errSlow     = errors.New("no answer of the visit server in time")
)

const (
	maxWait   = 5 * time.Minute // longest delay a server can ask for
	maxDetail = 200             // bytes of a server's words that are kept
)

// refusal is an answer that says no: the server's own problem, or the 429, 503 or 413 of what stands before it.
type refusal struct {
	problem *wire.Problem // nil when it is not the server's own
	status  int
	after   time.Duration // of Retry-After, 0 for none, at most maxWait
}

func (r *refusal) Error() string {
	if r.problem != nil {
		return r.problem.Error()
	}
	return fmt.Sprintf("visit server is unavailable (status %d)", r.status)
}

// hasCode reports whether err is the server's own problem with the code.
func hasCode(err error, code string) bool {
	var r *refusal
	return errors.As(err, &r) && r.problem != nil && r.problem.Code == code
}

// answered reports whether err still is an answer of the visit server itself.
func answered(err error) bool {
	var r *refusal
	return errors.As(err, &r) && r.problem != nil
}

// tooLarge reports whether a smaller request may succeed where this one did not.
func tooLarge(err error) bool {
	var r *refusal
	return errors.Is(err, errTooLarge) || hasCode(err, wire.CodeTooLarge) || hasCode(err, wire.CodeBadRequest) ||
		errors.As(err, &r) && r.status == http.StatusRequestEntityTooLarge
}

// readAnswer takes an answer for the server's only if status, content type and form are exactly right.
func readAnswer[T any](resp *http.Response, body []byte, expected string, clock func() (time.Time, bool)) (T, error) {
	var none T
	types := resp.Header.Values("Content-Type")
	speaks := func(t string) bool { return len(types) == 1 && types[0] == t && len(body) <= wire.MaxResponse }
	switch {
	case resp.StatusCode == http.StatusOK && speaks(expected):
		m, err := wire.Decode[T](body)
		if err != nil {
			return none, fmt.Errorf("%w: %w", ErrNotServer, err)
		}
		return m, nil
	case resp.StatusCode >= 400 && speaks(wire.TypeProblem):
		p, err := wire.Decode[wire.Problem](body)
		if err != nil {
			return none, fmt.Errorf("%w: %w", ErrNotServer, err)
		}
		if len(p.Detail) > maxDetail {
			p.Detail = strings.ToValidUTF8(p.Detail[:maxDetail], "")
		}
		return none, &refusal{problem: &p, status: resp.StatusCode, after: retryAfter(resp.Header, clock)}
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusServiceUnavailable,
		resp.StatusCode == http.StatusRequestEntityTooLarge:
		return none, &refusal{status: resp.StatusCode, after: retryAfter(resp.Header, clock)}
	}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		kind = "no content type"
	}
	return none, fmt.Errorf("%w: status %d, %s, %d bytes", ErrNotServer, resp.StatusCode, kind, len(body))
}

// retryAfter reads Retry-After (RFC 9110 section 10.2.3) as a delay from 0 to maxWait. A date is taken against the
// answer's own Date, so that the gate's clock does not matter.
func retryAfter(h http.Header, clock func() (time.Time, bool)) time.Duration {
	v := h.Get("Retry-After")
	if s, err := strconv.ParseUint(v, 10, 31); err == nil {
		return min(time.Duration(s)*time.Second, maxWait)
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		date, _ = clock()
	}
	return min(max(at.Sub(date), 0), maxWait)
}
