package httpserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/kipass/kipass/internal/loglimit"
)

// Handler answers a request, or returns why it does not: a [*Problem], or a fault of the server's own. An error after the
// answer has begun breaks the connection off, so that no client takes half an answer for a whole one.
type Handler func(w http.ResponseWriter, r *http.Request) error

// MuxOptions are what a Mux has besides its routes.
type MuxOptions struct {
	Logger *slog.Logger // of requests and faults; default: none
	Level  slog.Level   // of the line about each request; default: info
	Form   Form         // of refusals outside any route; default: ProblemJSON
	Before Handler      // called before each request is routed, to check it or to set headers; may be nil
}

// Mux routes requests. It logs each with method, pattern of the route, status, bytes and duration, and with nothing that
// a client may choose; and it keeps a panic from ending more than the request. Of requests alike – one route, one status,
// one caller if a handler has named it with [Annotate] – only so many a minute are logged each: nobody fills the log.
type Mux struct {
	opts MuxOptions
	mux  *http.ServeMux
	log  loglimit.Limiter
}

const (
	maxLines = 60     // in the log, of requests alike, in a minute
	maxAlike = 65_536 // kinds of requests that are told apart
)

// NewMux returns a Mux without routes.
func NewMux(opts MuxOptions) *Mux {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Form == nil {
		opts.Form = ProblemJSON
	}
	return &Mux{opts: opts, mux: http.NewServeMux(), log: loglimit.Limiter{Burst: maxLines, Kinds: maxAlike}}
}

// Handle adds a route, its pattern as of [http.ServeMux], whose refusals are sent in the form.
func (m *Mux) Handle(pattern string, form Form, h Handler) {
	m.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		x := exchangeOf(r.Context())
		x.form = form
		x.err = h(w, r)
	})
}

// exchange is one request and what becomes of it.
type exchange struct {
	form  Form
	err   error
	attrs []slog.Attr
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// Annotate adds to the log line of the request with this context. What is added must not be of the request's content.
func Annotate(ctx context.Context, attrs ...slog.Attr) {
	if x := exchangeOf(ctx); x != nil {
		x.attrs = append(x.attrs, attrs...)
	}
}

func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	x := &exchange{form: m.opts.Form}
	rec := &recorder{ResponseWriter: w}
	r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
	m.route(rec, r, x)
	route := r.Pattern
	if route == "" {
		route = "none"
	}
	broken := m.conclude(rec, r, x, route)
	if !broken {
		rec.begin() // net/http answers 200 for a handler that wrote nothing
	}
	m.logLimited(r.Context(), m.opts.Level, "request", kindOf(route, rec.status, x.attrs), func() []slog.Attr {
		return append([]slog.Attr{slog.String("method", method(r)), slog.String("route", route), slog.Int("status", rec.status),
			slog.Int64("bytes", rec.bytes), slog.Duration("duration", time.Since(began))}, x.attrs...)
	})
	if broken {
		panic(http.ErrAbortHandler)
	}
}

// logLimited logs a line, unless there were too many of its kind lately. The next one of the kind then says for how many it
// stands.
func (m *Mux) logLimited(ctx context.Context, level slog.Level, message, kind string, tell func() []slog.Attr) {
	if !m.opts.Logger.Enabled(ctx, level) {
		return
	}
	ok, skipped := m.log.Allow(kind)
	if !ok {
		return
	}
	attrs := tell()
	if skipped > 0 {
		attrs = append(attrs, slog.Int("count", skipped+1))
	}
	m.opts.Logger.LogAttrs(ctx, level, message, attrs...)
}

// kindOf names the requests that are alike: of one route, with one status, annotated in the same way.
func kindOf(route string, status int, attrs []slog.Attr) string {
	b := strconv.AppendInt(append(make([]byte, 0, 96), route...), int64(status), 10)
	for _, a := range attrs {
		b = append(append(append(append(b, 0), a.Key...), 0), a.Value.String()...)
	}
	return string(b)
}

// route has a request answered and leaves in x why it was not.
func (m *Mux) route(w http.ResponseWriter, r *http.Request, x *exchange) {
	defer func() {
		if p := recover(); p != nil {
			x.err = caught(p)
		}
	}()
	if m.opts.Before != nil {
		if x.err = m.opts.Before(w, r); x.err != nil {
			return
		}
	}
	if h, pattern := m.mux.Handler(r); pattern == "" {
		x.err = unmatched(h, w, r)
		return
	}
	m.mux.ServeHTTP(w, r)
}

// unmatched has ServeMux say why it has no route: it names the methods that there are in the header Allow.
func unmatched(h http.Handler, w http.ResponseWriter, r *http.Request) error {
	why := &statusOnly{header: w.Header()}
	h.ServeHTTP(why, r)
	if why.status == http.StatusMethodNotAllowed {
		return &Problem{Kind: MethodNotAllowed}
	}
	return &Problem{Kind: NotFound}
}

type statusOnly struct {
	header http.Header
	status int
}

func (s *statusOnly) Header() http.Header         { return s.header }
func (s *statusOnly) WriteHeader(status int)      { s.status = status }
func (s *statusOnly) Write(b []byte) (int, error) { return len(b), nil }

// conclude logs a fault, once, refuses a request that was not answered, and reports whether an answer that has begun is
// to be broken off.
func (m *Mux) conclude(rec *recorder, r *http.Request, x *exchange, route string) (broken bool) {
	if x.err == nil {
		return false
	}
	if errors.Is(x.err, http.ErrAbortHandler) {
		return true
	}
	p, fault := problemOf(x.err)
	if fault {
		m.logLimited(r.Context(), slog.LevelError, "request failed", route+" failed", func() []slog.Attr {
			attrs := []slog.Attr{slog.String("route", route), slog.Any("error", x.err)}
			if panicked := (*panicError)(nil); errors.As(x.err, &panicked) {
				attrs = append(attrs, slog.String("stack", panicked.stack))
			}
			return attrs
		})
	}
	x.attrs = append(x.attrs, slog.String("problem", p.Code))
	if rec.status != 0 {
		return true
	}
	refuse(rec, p, x.form)
	return false
}

// panicError is a panic of a handler. What it panicked with may hold something of the request and is told only if the
// runtime made it; a stack holds no contents.
type panicError struct{ what, stack string }

func (e *panicError) Error() string { return "panic: " + e.what }

func caught(p any) error {
	if p == http.ErrAbortHandler {
		return http.ErrAbortHandler
	}
	what := fmt.Sprintf("a value of type %T", p)
	if e, ok := p.(runtime.Error); ok {
		what = e.Error()
	}
	return &panicError{what: what, stack: string(debug.Stack())}
}

// method is a request's method if it is a usual one: any other is of a stranger's making.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	}
	return "other"
}
