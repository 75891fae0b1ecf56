// Package station joins the parts of one gate: firmware, journal, clock, health, screen and uplink, which do not know
// each other. It opens nothing itself: devices, files and the network are handed to it, so that a gate made of real ones
// and one made of simulated ones are the same gate.
package station

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kipass/kipass/configs"
	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/firmware"
	"github.com/kipass/kipass/firmware/clock"
	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/firmware/journal"
	"github.com/kipass/kipass/firmware/provision"
	"github.com/kipass/kipass/firmware/replay"
	"github.com/kipass/kipass/firmware/screen"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/uplink"
)

// Options are what a gate is made of. All are required but where a default is told.
type Options struct {
	Config      configs.Gate
	Version     string // of the program, as the server and the technician are told it
	Identity    *uplink.Identity
	Journal     *journal.Journal // Run does not close it
	Readers     []drivers.Reader
	Indicators  []firmware.Lane // halted when Run returns, and when New fails
	Authorities *x509.CertPool  // those a server certificate may come from
	Board       *health.Board
	Logger      *slog.Logger

	// Screen makes the visitor's screen, which asks for the gate's status; nil: there is none.
	Screen func(status func() screen.Status) (*screen.Screen, error)
	// ClipLength tells how long each of the voice's clips lasts; nil: as those shipped do.
	ClipLength func(clip string) time.Duration
	// Replays are the codes admitted lately; nil: a set that forgets them with the station. Run does not close it.
	Replays *replay.Set
	// Clock has the sources of time; what New knows of itself (allowance, floor, evidence) it fills in. The zero value
	// takes the system's.
	Clock clock.Options
	// LookEvery is how often the parts look after devices, disk and clock; 0: each as often as it is made to.
	LookEvery time.Duration
	// Network is how the visit server is reached; the zero value goes over TCP.
	Network uplink.Network
}

// Station is one gate.
type Station struct {
	opts        Options
	clock       *clock.Clock
	trust       *token.Trust
	screen      *screen.Screen // nil if there is none
	gate        *firmware.Gate
	provisioner *provision.Provisioner
	uplink      *uplink.Uplink
}

// New makes the parts, and puts a provision from before the start into use.
func New(opts Options) (*Station, error) {
	s := &Station{opts: opts, trust: token.NewTrust(opts.Config.Trust.Root.Key())}
	if err := s.assemble(); err != nil {
		errs := []error{err}
		for _, l := range opts.Indicators {
			errs = append(errs, l.Indicator.Halt())
		}
		return nil, errors.Join(errs...)
	}
	return s, nil
}

func (s *Station) assemble() (err error) {
	sources := s.opts.Clock
	sources.Skew = s.opts.Config.Clock.Skew.Duration
	sources.Floor, sources.OnEvidence = s.opts.Journal.TimeFloor(), s.opts.Journal.KeepTimeFloor
	sources.LookEvery = s.opts.LookEvery
	s.clock = clock.New(sources)
	var display firmware.Display
	if s.opts.Screen != nil {
		if s.screen, err = s.opts.Screen(s.screenStatus); err != nil {
			return err
		}
		display = s.screen
	}
	s.gate = firmware.New(firmware.Options{
		Readers: s.opts.Readers, Indicators: s.opts.Indicators, Display: display, Trust: s.trust, Clock: s.clock,
		Replays: s.opts.Replays, RefuseUntrusted: s.opts.Config.Clock.Untrusted == "refuse", Languages: s.opts.Config.Languages(),
		ClipLength: s.opts.ClipLength,
		Board:      s.opts.Board, CheckEvery: s.opts.LookEvery, Logger: s.opts.Logger,
	})
	s.provisioner = provision.New(provision.Options{
		Journal: s.opts.Journal, Trust: s.trust, Begin: func() { s.gate.Use(s.opts.Journal) }, Logger: s.opts.Logger,
	})
	if kept, ok := s.opts.Identity.Provision(); ok {
		if err := s.Provision(kept); err != nil {
			s.opts.Logger.Error("the provision kept on the disk is refused; a new one is asked for", "error", err)
		}
	}
	if s.uplink, err = s.newUplink(); err != nil && s.screen != nil {
		err = errors.Join(err, s.screen.Close())
	}
	return err
}

func (s *Station) newUplink() (*uplink.Uplink, error) {
	config := s.opts.Config
	server, err := url.Parse(config.Server.URL)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	return uplink.New(uplink.Options{
		Server: server, CA: s.opts.Authorities, Facility: config.Place.Facility, Gate: config.Place.Name,
		Code: config.Server.EnrolmentCode.Reveal(), Identity: s.opts.Identity, Source: s.opts.Journal, Provision: s,
		Heartbeat: s.heartbeat, OnServerTime: s.clock.ServerTime, OnStatus: s.setDelivery, Time: s.time, PublicCA: config.Server.CA == "",
		Logger: s.opts.Logger, Network: s.opts.Network,
	})
}

// Run runs all parts until ctx ends, and then returns nil. Once scanning is possible it calls ready with the address of
// the screen, empty if there is none. No step of it waits for the network: an enrolled gate serves its first visitor
// whether or not there is one.
func (s *Station) Run(ctx context.Context, ready func(url string)) error {
	monitor := &health.Monitor{
		Board: s.opts.Board, Journal: s.opts.Journal, Clock: s.clock, Trust: s.trust,
		Every: s.opts.LookEvery,
	}
	group, ctx := errgroup.WithContext(ctx)
	url := ""
	if s.screen != nil {
		url = s.screen.URL()
		group.Go(func() error { return s.screen.Run(ctx) })
	}
	group.Go(func() error { return s.gate.Run(ctx) })
	group.Go(func() error { return ended(ctx, s.clock.Run(ctx)) })
	group.Go(func() error { monitor.Run(ctx); return nil })
	group.Go(func() error { s.opts.Journal.RunRetention(ctx, s.confirmedTime); return nil })
	group.Go(func() error { return s.uplink.Run(ctx) })
	ready(url)
	return group.Wait()
}

// ended forgives a part for ending because it was asked to.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
