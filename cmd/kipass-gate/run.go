package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/kipass/kipass/configs"
	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/firmware/replay"
	"github.com/kipass/kipass/firmware/screen"
	"github.com/kipass/kipass/station"
)

// Run is one gate from start to end. It returns nil when ctx ends; an error means that the gate cannot even begin. Once
// scanning is possible it writes the line "ready URL" to out, URL being the visitor's screen.
func Run(ctx context.Context, config configs.Gate, out io.Writer, log *slog.Logger) error {
	log.Info("starting", "version", version, "config", config)
	board := health.NewBoard(time.Now, log)
	opened, err := openState(ctx, config, board, log)
	if err != nil || opened == nil {
		return err
	}
	replays, err := openReplays(config, log)
	if err != nil {
		return errors.Join(err, opened.journal.Close())
	}
	s, err := newStation(config, opened, replays, board, log)
	if err == nil {
		err = s.Run(ctx, func(url string) { fmt.Fprintln(out, "ready", url) })
	}
	return errors.Join(err, opened.journal.Close(), replays.Close())
}

// newStation joins the open state with the devices of the config and with the network.
func newStation(
	config configs.Gate, opened *state, replays *replay.Set, board *health.Board, log *slog.Logger,
) (*station.Station, error) {
	authorities, err := certificates(config.Server.CA)
	if err != nil {
		return nil, err
	}
	readers, err := openReaders(config, log)
	if err != nil {
		return nil, err
	}
	clips, clipLength, err := openVoice(config)
	if err != nil {
		return nil, err
	}
	indicators, err := openIndicators(config, clips, log)
	if err != nil {
		return nil, err
	}
	return station.New(station.Options{
		Config: config, Version: version, Identity: opened.identity, Journal: opened.journal,
		ClipLength: clipLength, Clock: clockSources(), Replays: replays, Readers: readers, Indicators: indicators,
		Authorities: authorities, Board: board, Logger: log,
		Screen: func(status func() screen.Status) (*screen.Screen, error) { return newScreen(config, log, status) },
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
