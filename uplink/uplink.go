// Package uplink is the gate's side of sync: it enrols the gate with the visit server, drains the journal to it, renews
// certificate and provision, and tells of the gate's state in heartbeats. Scanning never waits for any of it.
//
// Everything is delivered at least once and in order; the server makes it once. A record leaves the journal only through
// a receipt that answers the batch it was in.
package uplink

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// Provisioner is the gate as it takes what the server provides. Its methods are called from goroutines of Run and may
// not wait for the network.
type Provisioner interface {
	// Holding returns the version of the trust list in use and the key new epochs are sealed to, zero for none.
	Holding() (trust uint64, seal visit.SealKeyID)
	// Provision checks the trust list's signature and takes both into use. What it refuses is not kept, and asked for
	// again with back-off.
	Provision(wire.Provision) error
}

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

	Dial         func(ctx context.Context, network, address string) (net.Conn, error) // default: TCP
	Heartbeat    func() wire.Heartbeat                                                // the gate's present state
	OnServerTime func(t time.Time, rtt time.Duration)                                 // called when an answer came; t is rtt/2 old; may be nil
	OnStatus     func(Status)                                                         // called after a change, one call at a time; may be nil
	Now          func() time.Time                                                     // wall time, not below what the gate knows for sure; default time.Now
	Log          *slog.Logger
}

// Uplink connects one gate with its visit server.
type Uplink struct {
	o       Options
	client  *client
	status  statusBoard
	draw    func() float64 // from 0 to 1, for jitter
	running atomic.Bool

	enrolling sync.Mutex        // held over one enrolment
	enrolled  chan struct{}     // closed once there is an identity
	lapsed    chan struct{}     // the identity is no longer taken; buffered
	renewed   chan struct{}     // there is another identity than before; buffered
	receipts  chan wire.Receipt // newest one that shows something to fetch; buffered
	enrolOnce sync.Once

	clock struct { // the server's time when it was last heard
		sync.Mutex
		server, at time.Time
	}
}

const timeoutDefault = 30 * time.Second

// New checks the options. It uses no network and starts nothing.
func New(o Options) (*Uplink, error) {
	switch {
	case o.Server == nil || o.Server.Scheme != "https" || o.Server.Host == "" || o.Server.User != nil ||
		o.Server.RawQuery != "" || o.Server.Fragment != "":
		return nil, fmt.Errorf("visit server: must be given as https://host[:port][/path]")
	case o.CA == nil:
		return nil, fmt.Errorf("visit server: no certificate authority given to check it against")
	case o.Identity == nil || o.Source == nil || o.Provision == nil || o.Heartbeat == nil || o.Log == nil:
		return nil, fmt.Errorf("uplink: identity, source, provision, heartbeat and log are required")
	}
	if _, err := visit.ParseFacility(string(o.Facility)); err != nil {
		return nil, err
	}
	if _, err := visit.ParseGate(string(o.Gate)); err != nil {
		return nil, err
	}
	if f, g, ok := o.Identity.Terminal(); ok && (f != o.Facility || g != o.Gate) {
		return nil, fmt.Errorf("this device is enrolled as facility %s, gate %s but configured as facility %s, gate %s: correct the configuration, or empty %s and enrol it anew",
			f, g, o.Facility, o.Gate, o.Identity.folder)
	}
	if o.Timeout <= 0 {
		o.Timeout = timeoutDefault
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: min(stepTimeout, o.Timeout)}).DialContext
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	u := &Uplink{
		o: o, draw: rand.Float64,
		enrolled: make(chan struct{}), lapsed: make(chan struct{}, 1), renewed: make(chan struct{}, 1), receipts: make(chan wire.Receipt, 1),
	}
	u.status.now, u.status.notify = o.Now, o.OnStatus
	u.status.s.Revoked = o.Identity.isRevoked()
	if o.Identity.certificate() != nil {
		u.setEnrolled()
	}
	if err := o.Identity.Damage(); err != nil {
		u.status.errs[concernIdentity] = err.Error()
		u.status.s.LastError = err.Error()
	}
	u.client = newClient(o, o.Identity.certificate, u.now, u.heardTime)
	return u, nil
}

// Status returns the present state.
func (u *Uplink) Status() Status { return u.status.get() }

// Run enrols, drains, beats, renews and refreshes until ctx ends, and then returns nil; it is called once. All
// goroutines have ended when it returns.
func (u *Uplink) Run(ctx context.Context) error {
	if !u.running.CompareAndSwap(false, true) {
		return fmt.Errorf("uplink: already run")
	}
	defer u.client.close()
	if f := u.o.OnStatus; f != nil {
		f(u.Status())
	}
	if err := u.o.Identity.Damage(); err != nil {
		u.o.Log.Warn("identity", "err", err)
	}
	d := newDrain(drain{
		source: u.o.Source, server: u.client, status: &u.status, draw: u.draw,
		onReceipt: u.offer, onRevoked: u.revoked, renewed: u.renewed,
		beat: pulse{content: u.o.Heartbeat},
	}, u.o.Log)
	whenEnrolled := func(run func(context.Context)) func() error {
		return func() error {
			select {
			case <-ctx.Done():
			case <-u.enrolled:
				run(ctx)
			}
			return nil
		}
	}
	var g errgroup.Group
	g.Go(func() error { u.keepEnrolled(ctx); return nil })
	g.Go(whenEnrolled(d.run))
	g.Go(whenEnrolled(u.keepRenewed))
	g.Go(whenEnrolled(u.keepProvisioned))
	return g.Wait()
}

func (u *Uplink) setEnrolled() {
	u.enrolOnce.Do(func() { close(u.enrolled) })
	u.status.change(func(s *Status, errs *[concerns]string) { s.Enrolled, errs[concernIdentity] = true, "" })
}

// revoked keeps across restarts whether the server has withdrawn this terminal.
func (u *Uplink) revoked(r bool) {
	if err := u.o.Identity.setRevoked(r); err != nil {
		u.o.Log.Error("keeping that the terminal is revoked", "revoked", r, "err", err)
	}
	if r {
		u.lapse()
	}
}

// lapse asks for another enrolment, if there is a code left to try.
func (u *Uplink) lapse() {
	select {
	case u.lapsed <- struct{}{}:
	default:
	}
}

func (u *Uplink) heardTime(t time.Time, rtt time.Duration) {
	u.clock.Lock()
	u.clock.server, u.clock.at = t.Add(rtt/2), time.Now()
	u.clock.Unlock()
	if f := u.o.OnServerTime; f != nil {
		f(t, rtt)
	}
}

// now returns the best known wall time: the server's, once it was heard.
func (u *Uplink) now() time.Time {
	u.clock.Lock()
	defer u.clock.Unlock()
	if u.clock.server.IsZero() {
		return u.o.Now()
	}
	return u.clock.server.Add(time.Since(u.clock.at))
}
