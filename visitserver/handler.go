package visitserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/wire"
)

// Codes of refusals, as wire.Problem names them.
const (
	codeRevoked    = "revoked"
	codeBadCode    = "bad-code"
	codeBadRequest = "bad-request"
	codeTooLarge   = "too-large"
	codeBusy       = "busy"
	codeInternal   = "internal"
)

// statuses of refusals; a terminal's missing or expired certificate is answered with 401 by itself.
var statuses = map[string]int{
	codeRevoked: http.StatusForbidden, codeBadCode: http.StatusForbidden, codeBadRequest: http.StatusBadRequest,
	codeTooLarge: http.StatusRequestEntityTooLarge, codeBusy: http.StatusServiceUnavailable,
	codeInternal: http.StatusInternalServerError,
}

// retryAfter is what a busy server asks for.
const retryAfter = 5 * time.Second

// Handler returns the public interface: terminals', managers' and the authority's. The server that serves it must use
// [Identity.TLS] and [ConnContext].
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+wire.PathEnrol, s.enrol)
	mux.HandleFunc("POST "+wire.PathRenew, s.renew)
	mux.HandleFunc("POST "+wire.PathVisits, s.takeVisits)
	mux.HandleFunc("POST "+wire.PathHeartbeat, s.takeHeartbeat)
	mux.HandleFunc("GET "+wire.PathProvision, s.provision)
	mux.HandleFunc("GET /v1/facilities/{facility}/counts", s.counts)
	mux.HandleFunc("POST "+order.PathOrders, s.takeOrder)
	return s.contained(mux)
}

// contained logs each request without anything of its content and keeps a panic from ending more than the request.
func (s *Server) contained(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		rec := &recorder{ResponseWriter: w}
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				s.log.Error("request panicked", "path", route(r), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				if rec.status == 0 {
					s.refuse(rec, &wire.Problem{Code: codeInternal, Detail: "the server has a fault; it is logged"})
				}
			}
			s.log.Info("request", "method", r.Method, "path", route(r), "status", rec.status, "bytes", rec.bytes,
				"took", time.Since(began), "terminal", rec.terminal, "problem", rec.problem)
		}()
		next.ServeHTTP(rec, r)
	})
}

// route is the pattern that answered, so that no path of a stranger's making is logged.
func route(r *http.Request) string {
	if r.Pattern == "" {
		return "none"
	}
	return r.Pattern
}

type recorder struct {
	http.ResponseWriter
	status   int
	bytes    int
	terminal string
	problem  string
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.bytes += n
	return n, err
}

// note records who asked, for the request's log line.
func note(w http.ResponseWriter, t terminalName) {
	if rec, ok := w.(*recorder); ok {
		rec.terminal = t.String()
	}
}

// body reads a request's body of the given content type.
func body(w http.ResponseWriter, r *http.Request, contentType string, most int64) ([]byte, error) {
	if got := r.Header.Get("Content-Type"); got != contentType {
		return nil, &wire.Problem{Code: codeBadRequest, Detail: "content type must be " + contentType}
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, &wire.Problem{Code: codeTooLarge, Detail: fmt.Sprintf("at most %d bytes are taken", most)}
	case err != nil:
		return nil, &wire.Problem{Code: codeBadRequest, Detail: "the request broke off"}
	}
	return b, nil
}

// answer sends a message, or the refusal that err is.
func (s *Server) answer(w http.ResponseWriter, contentType string, message any, err error) {
	if err != nil {
		s.refuse(w, err)
		return
	}
	b, err := wire.Encode(message)
	if err != nil {
		s.refuse(w, fmt.Errorf("encoding the answer: %w", err))
		return
	}
	send(w, http.StatusOK, contentType, b)
}

func send(w http.ResponseWriter, status int, contentType string, b []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(b)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(b) // a gate that does not get its answer asks again
}

// refuse answers with a wire.Problem. An error that is none is the server's own fault: it is logged here, once, and not
// told.
func (s *Server) refuse(w http.ResponseWriter, err error) {
	status := 0
	var p *wire.Problem
	var unauthorised *unauthorisedError
	switch {
	case errors.As(err, &unauthorised):
		p, status = &wire.Problem{Code: codeBadRequest, Detail: unauthorised.detail}, http.StatusUnauthorized
	case errors.As(err, &p):
		status = statuses[p.Code]
	case errors.Is(err, context.Canceled):
		p, status = &wire.Problem{Code: codeBusy, Detail: "the request was given up"}, http.StatusServiceUnavailable
	default:
		s.log.Error("request failed", "error", err)
		p, status = &wire.Problem{Code: codeInternal, Detail: "the server has a fault; it is logged"}, http.StatusInternalServerError
	}
	if rec, ok := w.(*recorder); ok {
		rec.problem = p.Code
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter/time.Second)+rand.IntN(int(retryAfter/time.Second))))
	}
	b, err := wire.Encode(p)
	if err != nil {
		panic(err) // two strings always encode
	}
	send(w, status, wire.TypeProblem, b)
}

type unauthorisedError struct{ detail string }

func (e *unauthorisedError) Error() string { return e.detail }

// enter takes one of the places at work, waiting a little; leave gives it back.
func (s *Server) enter(ctx context.Context) (leave func(), err error) {
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	wait := time.NewTimer(retryAfter)
	defer wait.Stop()
	select {
	case s.atWork <- struct{}{}:
		return func() { <-s.atWork }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-wait.C:
		return nil, &wire.Problem{Code: codeBusy, Detail: "too many gates at once; send again later"}
	}
}
