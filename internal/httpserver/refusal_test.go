package httpserver

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
)

// codeOf reads an answer as a problem details object and returns its code.
func codeOf(w *httptest.ResponseRecorder) string {
	var p ProblemDetails
	if w.Header().Get("Content-Type") != TypeProblemJSON || json.Unmarshal(w.Body.Bytes(), &p) != nil || p.Status != w.Code {
		return ""
	}
	return p.Code
}

var common = []Kind{BadRequest, Unauthenticated, NotFound, MethodNotAllowed, TooLarge, UnsupportedType, Busy, Internal}

func TestEachCodeOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range common {
		if seen[k.Code] || !regexp.MustCompile(`^[a-z0-9-]{1,32}$`).MatchString(k.Code) {
			t.Errorf("code %q is malformed or there twice", k.Code)
		}
		seen[k.Code] = true
		if k.Status < 400 || http.StatusText(k.Status) == "" || k.Korean == "" || k.English == "" || k.RetryAfter%time.Second != 0 {
			t.Errorf("%s is incomplete: %+v", k.Code, k)
		}
	}
}

// The problem details object as RFC 9457 has it, byte for byte.
func TestProblemJSON(t *testing.T) {
	w, _, _ := do(t, MuxOptions{}, "GET", "/people/kim", func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("WWW-Authenticate", "Bearer")
		return Unauthenticated.Withf("token %d is needed", 3)
	})
	want := `{"title":"Unauthorized","status":401,"detail":"token 3 is needed","code":"unauthenticated",` +
		`"ko":"인증이 필요합니다.","en":"Credentials are needed."}` + "\n"
	h := w.Header()
	if w.Code != http.StatusUnauthorized || w.Body.String() != want || h.Get("Content-Type") != "application/problem+json" {
		t.Errorf("answered %d, %q with %v", w.Code, w.Body, h)
	}
	if h.Get("WWW-Authenticate") != "Bearer" || h.Get("Cache-Control") != "no-store" || h.Get("Retry-After") != "" {
		t.Errorf("headers %v", h)
	}
}

func TestRetryAfterIsSpread(t *testing.T) {
	for _, c := range []struct {
		asked       time.Duration
		least, most int
	}{
		{5 * time.Second, 5, 10}, {time.Second, 1, 2},
	} {
		seen := map[int]bool{}
		for range 1000 { // the chance that one of the values does not come up is below 10⁻³⁰
			w := httptest.NewRecorder()
			refuse(w, &Problem{Kind: Kind{Code: "busy", Status: 503, RetryAfter: c.asked}}, ProblemJSON)
			s := testkit.Must(strconv.Atoi(w.Header().Get("Retry-After")))(t)
			seen[s] = true
			if s < c.least || s > c.most {
				t.Fatalf("%v: Retry-After %d", c.asked, s)
			}
		}
		if len(seen) != c.most-c.least+1 {
			t.Errorf("%v: only %v", c.asked, seen)
		}
	}
}

func TestWhichErrorsAreRefusals(t *testing.T) {
	for _, c := range []struct {
		err   error
		code  string
		fault bool
	}{
		{fmt.Errorf("reading the order: %w", BadRequest.With("no")), "bad-request", false},
		{fmt.Errorf("storing: %w", context.Canceled), "busy", false},
		{context.DeadlineExceeded, "internal", true},
		{fmt.Errorf("storing"), "internal", true},
	} {
		if p, fault := problemOf(c.err); p.Code != c.code || fault != c.fault {
			t.Errorf("%v: %v, %v", c.err, p, fault)
		}
	}
}

// A refusal's detail may speak of the request; the log has the code alone.
func TestADetailIsNotLogged(t *testing.T) {
	w, log, _ := do(t, MuxOptions{}, "GET", "/people/kim", func(_ http.ResponseWriter, r *http.Request) error {
		Annotate(r.Context(), slog.String("gate", "door"))
		return BadRequest.With("nobody is called " + secret)
	})
	if !strings.Contains(w.Body.String(), secret) || !strings.Contains(log, "gate=door problem=bad-request") {
		t.Errorf("answered %q, logged %s", w.Body, log)
	}
	Annotate(t.Context(), slog.String("gate", "door")) // outside any request: nothing to add to
}
