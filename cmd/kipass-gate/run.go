package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kipass/kipass/configs"
	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/firmware"
	"github.com/kipass/kipass/firmware/clock"
	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/firmware/provision"
	"github.com/kipass/kipass/firmware/screen"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/uplink"
)

// Run is one gate from start to end. It returns nil when ctx ends; an error means that the gate cannot even begin. Once
// scanning is possible it writes the line "ready URL" to out, URL being the visitor's screen. No step of it waits for the
// network: an enrolled gate serves its first visitor whether or not there is one.
func Run(ctx context.Context, config configs.Gate, out io.Writer, log *slog.Logger) error {
	log.Info("starting", "version", version, "config", config)
	board := health.NewBoard(time.Now, log)
	opened, err := openState(ctx, config, board, log)
	if err != nil || opened == nil {
		return err
	}
	p := &parts{config: config, state: opened, board: board, log: log}
	return errors.Join(p.serve(ctx, out), opened.journal.Close())
}

// parts are the parts of a gate that is being served, joined to each other here and in adapters.go.
type parts struct {
	*state
	config configs.Gate
	board  *health.Board
	log    *slog.Logger

	clock       *clock.Clock
	trust       *token.Trust
	screen      *screen.Screen
	gate        *firmware.Gate
	provisioner *provision.Provisioner
	uplink      *uplink.Uplink
}

// serve makes the parts around the open state and runs them until ctx ends.
func (p *parts) serve(ctx context.Context, out io.Writer) error {
	readers, err := openReaders(p.config, p.log)
	if err != nil {
		return err
	}
	indicators, err := openIndicators(p.config, p.log)
	if err != nil {
		return err
	}
	if err := p.assemble(readers, indicators); err != nil {
		return errors.Join(err, halt(indicators))
	}
	monitor := &health.Monitor{Board: p.board, Journal: p.journal, Clock: p.clock, Trust: p.trust}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.screen.Run(ctx) })
	group.Go(func() error { return p.gate.Run(ctx) })
	group.Go(func() error { return ended(ctx, p.clock.Run(ctx)) })
	group.Go(func() error { monitor.Run(ctx); return nil })
	group.Go(func() error { p.journal.RunRetention(ctx, p.trustedTime); return nil })
	group.Go(func() error { return p.uplink.Run(ctx) })
	fmt.Fprintln(out, "ready", p.screen.URL())
	return group.Wait()
}

// assemble makes all that is neither state nor device, and puts a provision from before the start into use.
func (p *parts) assemble(readers []drivers.Reader, indicators []firmware.Lane) (err error) {
	p.clock = clock.New(clock.Options{
		Skew: p.config.Clock.Skew.Duration, Floor: p.journal.TimeFloor(), OnEvidence: p.journal.RaiseTimeFloor,
	})
	p.trust = token.NewTrust(p.config.Trust.Root.Key())
	if p.screen, err = newScreen(p.config, p.log, p.screenStatus); err != nil {
		return err
	}
	p.gate = firmware.New(firmware.Options{
		Readers: readers, Indicators: indicators, Display: p.screen, Trust: p.trust, Clock: p.clock,
		RefuseUntrusted: p.config.Clock.Untrusted == "refuse", Languages: spoken(p.config), Board: p.board, Logger: p.log,
	})
	p.provisioner = provision.New(provision.Options{
		Journal: p.journal, Trust: p.trust, Begin: func() { p.gate.Use(p.journal) }, Logger: p.log,
	})
	if kept, ok := p.identity.Provision(); ok {
		if err := p.Provision(kept); err != nil {
			p.log.Error("the provision kept on the disk is refused; a new one is asked for", "error", err)
		}
	}
	if p.uplink, err = p.newUplink(); err != nil {
		return errors.Join(err, p.screen.Close())
	}
	return nil
}

// ended forgives a part for ending because it was asked to.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (p *parts) newUplink() (*uplink.Uplink, error) {
	server, err := url.Parse(p.config.Server.URL)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	authorities, err := certificates(p.config.Server.CA)
	if err != nil {
		return nil, err
	}
	return uplink.New(uplink.Options{
		Server: server, CA: authorities, Facility: p.config.Place.Facility, Gate: p.config.Place.Name,
		Code: p.config.Server.EnrolmentCode.Reveal(), Identity: p.identity, Source: p.journal, Provision: p,
		Heartbeat: p.heartbeat, OnServerTime: p.clock.ServerTime, OnStatus: p.setDelivery, Now: p.latest, Logger: p.log,
	})
}

// certificates reads the authorities a server certificate may come from; an empty path means the system's.
func certificates(path string) (*x509.CertPool, error) {
	if path == "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			return nil, fmt.Errorf("server: the system's certificate authorities: %w", err)
		}
		return pool, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("server: certificate authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("server: %s holds no certificate in PEM form", path)
	}
	return pool, nil
}
