package visitserver

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/guard"
	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/visitserver/rowcipher"
	"github.com/kipass/kipass/visitserver/store"
)

// Config is what Run needs. All but the fields with a default must be set.
type Config struct {
	Folder   Folder
	Secrets  Secrets              // of the folder
	Store    store.Store          // must be held by this server alone; Run does not close it
	Public   net.Listener         // of terminals, managers and the authority, without TLS; Run closes it
	Operator net.Listener         // that only the operator can reach; Run closes it
	Logger   *slog.Logger         // default: none
	Now      func() time.Time     // default: time.Now
	Elapsed  func() time.Duration // running time that nobody can set; default: the kernel's, from Now if that is given
	Synced   func() bool          // whether an NTP daemon vouches for Now; default: the kernel, nobody if Now is given
	Wake     <-chan time.Time     // when to look for days to destroy; nil: by itself
	Ready    func()               // called once, when requests are taken; default: nothing
	// Heartbeat is the time between two heartbeats asked of each gate, default 5 min.
	Heartbeat time.Duration
	// TerminalLife is how long a gate's certificate is good, default 365 days.
	TerminalLife time.Duration
	Disk         durable.Disk // of keys and clock; default: the machine's own
	Space        Space        // tells when no more is to be stored; default: there is always space
	// Serve serves the public interface until ctx ends in place of TLS over Public, for simulations; nil: TLS.
	Serve func(ctx context.Context, public http.Handler) error
}

// Run serves until ctx ends; then it finishes the requests in progress and closes everything that it has opened.
func Run(ctx context.Context, c Config) (err error) {
	defer func() { // for what comes before serving; httpserver.Run closes them too
		_ = c.Public.Close()
		_ = c.Operator.Close()
	}()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	clock := guard.Options{Now: c.Now, Elapsed: c.Elapsed, Synced: c.Synced, Disk: c.Disk, Logger: c.Logger}
	if c.Now == nil {
		c.Now = time.Now
	}
	var parts closers
	defer func() { err = errors.Join(err, parts.close()) }()
	s, err := open(ctx, c, clock, &parts)
	if err != nil {
		return err
	}
	if c.Serve == nil {
		conf, err := s.id.TLS(c.Now, s.guard.Times)
		if err != nil {
			return err
		}
		c.Serve = func(ctx context.Context, public http.Handler) error {
			return httpserver.Run(ctx, tls.NewListener(c.Public, conf),
				httpserver.Options{Handler: public, Logger: c.Logger, ConnContext: ConnContext})
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.Serve(ctx, s.Handler()) })
	g.Go(func() error {
		return httpserver.Run(ctx, c.Operator, httpserver.Options{Handler: s.Admin(), Logger: c.Logger})
	})
	g.Go(func() error { s.Destroyer(ctx, c.Wake); return nil })
	if s.space != nil {
		g.Go(func() error { s.space.Run(ctx); return nil })
	}
	if c.Ready != nil {
		c.Ready()
	}
	return g.Wait()
}

// open makes a server of what is in the folder and of the store. What has to be closed after it goes into parts, also
// when there is an error.
func open(ctx context.Context, c Config, clock guard.Options, parts *closers) (*Server, error) {
	keys, err := daykey.Open(c.Folder.path("keys", "days"), c.Secrets.master, rowcipher.Derive, c.Disk)
	if err != nil {
		return nil, err
	}
	keys.Damaged = func(d day.Day, path string) {
		c.Logger.Error("day key is damaged; it was set aside and another one made", "day", d.String(), "path", path)
	}
	seals, err := daykey.Open(c.Folder.path("keys", "seal"), c.Secrets.master, DeriveSealKey, c.Disk)
	if err != nil {
		return nil, err
	}
	seals.Damaged = func(d day.Day, path string) {
		c.Logger.Error("sealing key is damaged; it was set aside and another one made", "day", d.String(), "path", path)
	}
	guard := guard.Open(c.Folder.path("keys", "clock"), clock)
	parts.add(guard.Close)
	audit, err := auditlog.Open(c.Folder.Audit(), c.Secrets.identity.LogKey, auditOrigin)
	if err != nil {
		return nil, err
	}
	parts.add(audit.Close)
	if n := audit.Cut(); n > 0 {
		c.Logger.Warn("audit log: an entry never acknowledged was cut off", "bytes", n)
	}
	return New(ctx, Parts{
		Store: c.Store, Keys: keys, SealKeys: seals, Guard: guard, Identity: c.Secrets.identity, Audit: audit, Logger: c.Logger, Now: c.Now,
		Heartbeat: c.Heartbeat, Space: c.Space, TerminalLife: c.TerminalLife,
	})
}

// closers close in the reverse order of opening.
type closers struct{ all []func() error }

func (c *closers) add(f func() error) { c.all = append(c.all, f) }

func (c *closers) close() error {
	var errs []error
	for i := len(c.all) - 1; i >= 0; i-- {
		errs = append(errs, c.all[i]())
	}
	return errors.Join(errs...)
}
