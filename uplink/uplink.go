// Package uplink is the gate's side of sync: it enrols the gate with the visit server, drains the journal to it, renews
// certificate and provision, and tells of the gate's state in heartbeats. Scanning never waits for any of it.
//
// Everything is delivered at least once and in order; the server makes it once. A record leaves the journal only through
// a receipt that answers the batch it was in.
package uplink

import (
	"context"
	"crypto/tls"
	"errors"
	"sync"
	"sync/atomic"

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

// Uplink connects one gate with its visit server.
type Uplink struct {
	opts    Options
	client  *client
	status  statusBoard
	running atomic.Bool

	enrolling sync.Mutex    // held over one enrolment or renewal
	enrolled  chan struct{} // closed by enrolOnce, once there is an identity
	enrolOnce sync.Once
	lapsed    signal            // the server no longer takes the identity
	runOut    signal            // the server says that the certificate has run out
	fellBack  atomic.Bool       // to the identity before the last renewal, and the server has not taken that yet
	taken     signal            // the server has taken the identity
	renewed   signal            // there is another identity than before
	receipts  chan wire.Receipt // newest one that shows something to fetch; buffered
}

// New checks the options. It uses no network and starts nothing.
func New(opts Options) (*Uplink, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	u := &Uplink{
		opts:     opts,
		enrolled: make(chan struct{}), lapsed: newSignal(), runOut: newSignal(), taken: newSignal(), renewed: newSignal(),
		receipts: make(chan wire.Receipt, 1),
	}
	u.status.clock, u.status.notify = opts.Time, opts.OnStatus
	u.status.s.Revoked = opts.Identity.isRevoked()
	if opts.Identity.certificate() != nil {
		u.setEnrolled()
	}
	if err := opts.Identity.Damage(); err != nil {
		u.status.errs[concernIdentity] = err.Error()
		u.status.s.LastError = err.Error()
	}
	u.opts.hello.onKeyExchange = u.keyExchanged
	u.client = newClient(opts, opts.Identity.certificate, u.dated)
	return u, nil
}

// Status returns the present state.
func (u *Uplink) Status() Status { return u.status.get() }

// Run enrols, drains, sends heartbeats, renews and refreshes until ctx ends, and then returns nil; it is called once. All
// goroutines have ended when it returns.
func (u *Uplink) Run(ctx context.Context) error {
	if !u.running.CompareAndSwap(false, true) {
		return errors.New("uplink: already run")
	}
	defer u.client.close()
	if f := u.opts.OnStatus; f != nil {
		f(u.Status())
	}
	if err := u.opts.Identity.Damage(); err != nil {
		u.opts.Logger.Warn("identity", "error", err)
	}
	d := newDrain(drainOptions{
		source: u.opts.Source, server: u.client, status: &u.status, heartbeat: u.opts.Heartbeat, trust: u.trust, log: u.opts.Logger,
		onReceipt: u.offer, onRevoked: u.revoked, onUnknown: u.unknown, onExpired: u.runOut.raise, renewed: u.renewed, draw: u.opts.Network.Draw,
	})
	var g errgroup.Group
	g.Go(func() error { u.keepEnrolled(ctx); return nil })
	for _, run := range []func(context.Context){d.run, u.keepRenewed, u.keepProvisioned} {
		g.Go(func() error {
			select {
			case <-ctx.Done():
			case <-u.enrolled:
				run(ctx)
			}
			return nil
		})
	}
	return g.Wait()
}

func (u *Uplink) setEnrolled() {
	u.enrolOnce.Do(func() { close(u.enrolled) })
	u.status.change(func(s *Status, errs *[concerns]string) { s.Enrolled, errs[concernIdentity] = true, "" })
}

// revoked keeps across restarts whether the server has withdrawn this terminal, or takes it. A withdrawn one enrols again, if
// there is a code left to try.
func (u *Uplink) revoked(r bool) {
	if err := u.opts.Identity.setRevoked(r); err != nil {
		u.opts.Logger.Error("keeping that the terminal is revoked", "revoked", r, "error", err)
	}
	if r {
		u.lapsed.raise()
	} else {
		u.fellBack.Store(false)
		u.taken.raise()
	}
}

// unknown acts on it that the server does not know the identity. One that was restored from a backup may know the identity
// before the last renewal. It returns whether the gate has to be enrolled again.
func (u *Uplink) unknown() bool {
	if u.fellBack.CompareAndSwap(false, true) {
		fell, err := u.opts.Identity.fallBack()
		if err != nil {
			u.opts.Logger.Error("going back to the certificate before the last renewal", "error", err)
		}
		if fell {
			u.opts.Logger.Warn("the visit server does not know this terminal's certificate; the one before it is tried")
			u.another()
			return false
		}
	}
	u.lapsed.raise()
	return true
}

// another has the drain go on at once under another identity.
func (u *Uplink) another() {
	u.client.close() // the next connection is made with it
	u.renewed.raise()
}

// dated takes note of whether the device's date keeps the server away.
func (u *Uplink) dated(wrong bool) {
	u.status.change(func(s *Status, _ *[concerns]string) { s.DateWrong = wrong })
}

// keyExchanged takes note of how a handshake with the server was made.
func (u *Uplink) keyExchanged(by tls.CurveID) {
	classic, before := !postQuantum(by), u.Status()
	switch {
	case classic && !before.Classic:
		u.opts.Logger.Warn("connections to the visit server go without the post-quantum key exchange", "exchange", by.String())
	case !classic && before.Classic:
		u.opts.Logger.Info("connections to the visit server go by the post-quantum key exchange again", "exchange", by.String())
	}
	u.status.change(func(s *Status, _ *[concerns]string) { s.KeyExchange, s.Classic = by.String(), classic })
}

// signal tells one waiting goroutine that something has happened, once however often it did.
type signal chan struct{}

func newSignal() signal { return make(signal, 1) }

func (s signal) raise() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// clear forgets what has happened.
func (s signal) clear() {
	select {
	case <-s:
	default:
	}
}
