package visitserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/guard"
	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/visitserver/rows"
	"github.com/kipass/kipass/visitserver/store/embedded"
)

// Config is what Run needs.
type Config struct {
	Folder  Folder
	Listen  string               // TCP address, port 0 for any
	Logger  *slog.Logger         // default: none
	Now     func() time.Time     // default: time.Now
	Elapsed func() time.Duration // running time by the monotonic clock; default: from Now
	Wake    <-chan time.Time     // when to look for days to destroy; nil: by itself
	Ready   func(addr string)    // called once with the address listened on
}

// Run opens the folder and serves until ctx ends; then it finishes the requests in progress and closes everything.
func Run(ctx context.Context, c Config) (err error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	var parts closers
	defer func() { err = errors.Join(err, parts.close()) }()
	s, err := open(ctx, c, &parts)
	if err != nil {
		return err
	}
	conf, err := s.id.TLS(c.Now)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	socket, err := listenUnix(c.Folder.Socket())
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return httpserver.Run(ctx, tls.NewListener(listener, conf),
			httpserver.Options{Handler: s.Handler(), Logger: c.Logger, ConnContext: ConnContext})
	})
	g.Go(func() error {
		return httpserver.Run(ctx, socket, httpserver.Options{Handler: s.Admin(), Logger: c.Logger})
	})
	g.Go(func() error { s.Destroyer(ctx, c.Wake); return nil })
	if c.Ready != nil {
		c.Ready(listener.Addr().String())
	}
	return g.Wait()
}

func open(ctx context.Context, c Config, parts *closers) (*Server, error) {
	master, err := c.Folder.readMaster()
	if err != nil {
		return nil, err
	}
	id, err := c.Folder.readIdentity(master)
	if err != nil {
		return nil, err
	}
	st, err := embedded.Open(c.Folder.path("visits"), embedded.Options{Logger: c.Logger})
	if err != nil {
		return nil, err
	}
	parts.add(st.Close)
	keys, err := daykey.Open(c.Folder.path("keys", "days"), master, rows.Derive, durable.Disk{})
	if err != nil {
		return nil, err
	}
	guard, err := guard.Open(c.Folder.path("keys", "clock"), c.Now, c.Elapsed, durable.Disk{})
	if err != nil {
		return nil, err
	}
	parts.add(guard.Close)
	log, err := auditlog.Open(c.Folder.Audit(), id.Log, auditOrigin)
	if err != nil {
		return nil, err
	}
	parts.add(log.Close)
	if n := log.Cut(); n > 0 {
		c.Logger.Warn("audit log: an entry never acknowledged was cut off", "bytes", n)
	}
	return New(ctx, Parts{Store: st, Keys: keys, Guard: guard, Identity: id, Log: log, Logger: c.Logger, Now: c.Now})
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

// listenUnix makes the operator's socket, for this user alone. A socket left by a server that was killed is removed: the
// store's lock, taken before, shows that no other server lives here.
func listenUnix(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("removing the old socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listening for the operator: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
