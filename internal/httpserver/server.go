// Package httpserver is the one way in which our programs serve HTTP: a server with time-outs that ends gracefully
// (Run), routes with a request log and a panic guard (Mux), bodies read within limits (ReadBody, ReadJSON), and one model
// of refusals (Kind, Problem, Form). It knows nothing of what is served.
package httpserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Options say how Run serves. Handler must be set; a zero duration or size stands for the default.
type Options struct {
	Handler         http.Handler
	Logger          *slog.Logger  // of what net/http itself complains about, at debug level; default: none
	HeaderTimeout   time.Duration // for the TLS handshake, and to read a request's header; default 10 s
	ReadTimeout     time.Duration // to read a whole request; default 30 s
	WriteTimeout    time.Duration // from a request's header to the end of its answer; default 1 min, see [WriteWithin]
	IdleTimeout     time.Duration // to wait for a connection's next request; default 30 s
	ShutdownTimeout time.Duration // for requests in progress when Run's context ends; default 15 s
	MaxHeader       int           // bytes of a request's header; default 8 KiB
	// MaxConns is how many connections there may be. One more takes the place of one that says nothing, or else of one between
	// two requests: of the same origin if that has more than its part, else of the one that has been so longest. Default 8,192, or what the process may open.
	MaxConns int
	// Origin tells connections apart by whose they are; "" has no part to keep to. Default: by their address.
	Origin func(net.Conn) string
	// ConnContext derives the context of all requests on a connection; may be nil.
	ConnContext func(context.Context, net.Conn) context.Context
}

// Run serves on a listener, which may be one of TLS, until ctx ends. It then takes no further request, lets those in
// progress end, cuts off what is left after ShutdownTimeout, and returns nil if nothing had to be cut off. Requests'
// contexts do not end with ctx; an answer without an end watches [Draining]. Run always closes the listener.
func Run(ctx context.Context, l net.Listener, opts Options) error {
	opts = opts.withDefaults()
	server := opts.server(ctx)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		return errors.Join(fmt.Errorf("serving %s: %w", l.Addr(), err), server.Close())
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), opts.ShutdownTimeout)
	defer cancel()
	err := server.Shutdown(end)
	if err != nil {
		err = errors.Join(fmt.Errorf("ending the requests to %s: %w", l.Addr(), err), server.Close())
	}
	<-served
	return err
}

func (opts Options) withDefaults() Options {
	setDefault(&opts.HeaderTimeout, 10*time.Second)
	setDefault(&opts.ReadTimeout, 30*time.Second)
	setDefault(&opts.WriteTimeout, time.Minute)
	setDefault(&opts.IdleTimeout, 30*time.Second)
	setDefault(&opts.ShutdownTimeout, 15*time.Second)
	setDefault(&opts.MaxHeader, 8<<10)
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Origin == nil {
		opts.Origin = addressOf
	}
	return opts
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

type drainingKey struct{}

func (opts Options) server(ctx context.Context) *http.Server {
	base := context.WithValue(context.Background(), drainingKey{}, ctx.Done())
	return &http.Server{
		Handler:           opts.Handler,
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       opts.ConnContext,
		ConnState:         newConnections(opts.MaxConns, opts.Origin).state,
		ReadHeaderTimeout: opts.HeaderTimeout,
		ReadTimeout:       opts.ReadTimeout,
		WriteTimeout:      opts.WriteTimeout,
		IdleTimeout:       opts.IdleTimeout,
		MaxHeaderBytes:    opts.MaxHeader,
		ErrorLog:          slog.NewLogLogger(opts.Logger.Handler(), slog.LevelDebug),
	}
}

// Draining returns, for a request's context, a channel that is closed when the server is to end: an answer without an
// end, as an event stream, ends then. It is nil for a request that [Run] does not serve.
func Draining(ctx context.Context) <-chan struct{} {
	c, _ := ctx.Value(drainingKey{}).(<-chan struct{})
	return c
}

// WriteWithin gives the answers of one route their own time instead of the server's WriteTimeout, from the moment h is
// called. A stream moves the deadline further itself (http.ResponseController.SetWriteDeadline) before each write.
func WriteWithin(d time.Duration, h Handler) Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d))
		if err != nil && !errors.Is(err, http.ErrNotSupported) { // a recorder of tests has no deadline
			return fmt.Errorf("moving the deadline of an answer: %w", err)
		}
		return h(w, r)
	}
}
