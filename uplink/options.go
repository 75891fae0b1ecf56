package uplink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// Options say whom an uplink serves. Those without a default are required.
type Options struct {
	Server    *url.URL       // base URL, https
	CA        *x509.CertPool // the only authorities a server certificate may come from
	Proxy     *url.URL       // HTTP proxy; nil: none, the environment is not asked
	Facility  visit.Facility // the place this gate is configured for: the certificate must name it
	Gate      visit.Gate
	Code      string        // one-time enrolment code, used while there is no identity; may be empty
	Timeout   time.Duration // for one whole exchange, default 30 s; connecting and handshake get 10 s each at most
	Identity  *Identity
	Source    Source
	Provision Provisioner
	Heartbeat func() wire.Heartbeat // the gate's present state
	Logger    *slog.Logger
	hello     *hello // shared by all clients of the uplink

	Network      Network                              // how the server is reached; default: over TCP
	OnServerTime func(t time.Time, rtt time.Duration) // called when an answer came; t is rtt/2 old; may be nil
	OnStatus     func(Status)                         // called after a change, one call at a time; may be nil
	PublicCA     bool                                 // CA signs for anybody, as a system's authorities do: dates are strict
	// Time is the gate's clock, to judge certificates by. While the time is not known, the server is asked for it first,
	// unless PublicCA; default: the system's, taken for right.
	Time func() (now time.Time, known bool)
}

// Network is how a visit server is reached. The zero value goes over TCP and draws jitter at random; others are for tests
// and simulations.
type Network struct {
	Dial func(ctx context.Context, network, address string) (net.Conn, error) // default: TCP
	// Transport makes what carries requests, in place of TLS over what Dial connects; certificate is the one to present,
	// nil for none.
	Transport func(certificate func() *tls.Certificate) http.RoundTripper
	Draw      func() float64 // from 0 to 1, for jitter of pauses; default: random
}

const defaultTimeout = 30 * time.Second

// check says what is wrong with the options.
func (opts Options) check() error {
	if err := checkServer(opts.Server); err != nil {
		return err
	}
	if opts.CA == nil {
		return errors.New("visit server: no certificate authority given to check it against")
	}
	if opts.Identity == nil || opts.Source == nil || opts.Provision == nil || opts.Heartbeat == nil || opts.Logger == nil {
		return errors.New("uplink: identity, source, provision, heartbeat and logger are required")
	}
	return opts.checkPlace()
}

func checkServer(u *url.URL) error {
	if u == nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("visit server: must be given as https://host[:port][/path]")
	}
	return nil
}

// checkPlace holds the configured place against the one of the certificate, if there is one.
func (opts Options) checkPlace() error {
	if _, err := visit.ParseFacility(string(opts.Facility)); err != nil {
		return err
	}
	if _, err := visit.ParseGate(string(opts.Gate)); err != nil {
		return err
	}
	f, g, enrolled := opts.Identity.Terminal()
	if enrolled && (f != opts.Facility || g != opts.Gate) {
		return fmt.Errorf("this device is enrolled as facility %s, gate %s but configured as facility %s, gate %s: "+
			"correct the configuration, or empty %s and enrol it anew", f, g, opts.Facility, opts.Gate, opts.Identity.folder)
	}
	return nil
}

// withDefaults fills in what may be left out.
func (opts Options) withDefaults() Options {
	if opts.Timeout <= 0 {
		opts.Timeout = defaultTimeout
	}
	if opts.Network.Dial == nil {
		opts.Network.Dial = (&net.Dialer{Timeout: opts.stepTimeout()}).DialContext
	}
	if opts.Network.Draw == nil {
		opts.Network.Draw = rand.Float64
	}
	if opts.Time == nil {
		opts.Time = func() (time.Time, bool) { return time.Now(), true }
	}
	opts.hello = &hello{}
	return opts
}

// stepTimeout is for each of: connecting, TLS handshake.
func (opts Options) stepTimeout() time.Duration { return min(maxStep, opts.Timeout) }
