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
	"github.com/kipass/kipass/firmware"
	"github.com/kipass/kipass/firmware/clock"
	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/firmware/journal"
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
	kept, err := openState(ctx, config, board, log)
	if err != nil || kept == nil {
		return err
	}
	return errors.Join(serve(ctx, config, kept.identity, kept.journal, board, out, log), kept.journal.Close())
}

// serve wires the parts around an open journal and runs them until ctx ends.
func serve(ctx context.Context, config configs.Gate, identity *uplink.Identity, store *journal.Journal, board *health.Board, out io.Writer, log *slog.Logger) error {
	readers, err := openReaders(config, log)
	if err != nil {
		return err
	}
	indicators, err := openIndicators(config, log)
	if err != nil {
		return err
	}
	watch := clock.New(clock.Options{Skew: config.Clock.Skew.Duration, Floor: store.TimeFloor()})
	s := &station{journal: store, clock: watch, trust: token.NewTrust(config.Trust.Root.Key()), board: board, log: log}
	var link *uplink.Uplink
	face, err := newScreen(config, log, func() screen.Status { return s.status(link) })
	if err != nil {
		return err
	}
	s.gate = firmware.New(firmware.Options{
		Readers: readers, Indicators: indicators, Display: face, Trust: s.trust, Clock: timekeeper{watch, store},
		RefuseUnsure: config.Clock.Untrusted == "refuse", Languages: spoken(config), Board: board, Log: log,
	})
	if p, ok := identity.Provision(); ok {
		if err := s.Provision(p); err != nil {
			log.Error("the provision kept on the disk is refused; a new one is asked for", "error", err)
		}
	}
	if link, err = newUplink(config, identity, s); err != nil {
		return errors.Join(err, face.Close())
	}

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return face.Run(ctx) })
	group.Go(func() error { return s.gate.Run(ctx) })
	group.Go(func() error { return ended(ctx, watch.Run(ctx)) })
	group.Go(func() error { s.watch(ctx); return nil })
	group.Go(func() error { return link.Run(ctx) })
	fmt.Fprintln(out, "ready", face.URL())
	return group.Wait()
}

// ended forgives a part for ending because it was asked to.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func newUplink(config configs.Gate, identity *uplink.Identity, s *station) (*uplink.Uplink, error) {
	server, err := url.Parse(config.Server.URL)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	authorities, err := certificates(config.Server.CA)
	if err != nil {
		return nil, err
	}
	return uplink.New(uplink.Options{
		Server: server, CA: authorities, Facility: config.Place.Facility, Gate: config.Place.Name,
		Code: config.Server.EnrolmentCode.Reveal(), Identity: identity, Source: s.journal, Provision: s,
		Heartbeat: s.heartbeat, OnServerTime: s.clock.ServerTime, OnStatus: s.connected, Now: s.now, Log: s.log,
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
