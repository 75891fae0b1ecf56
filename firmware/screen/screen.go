// Package screen is what the gate shows: the visitor's screen, the technician's page and the figures for monitoring, as
// web pages on loopback. The visitor's page is told outcomes and words only, never what was read.
package screen

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/protocol/visit"
)

// Options say what a screen needs. Status and Logger must be set.
type Options struct {
	Listener net.Listener                 // on a loopback address; the screen closes it
	Language string                       // the language shown large: "ko", "en", "zh", "ja" or "vi"
	Second   string                       // the one beneath it; empty for none
	Words    map[string]map[string]string // the venue's own words by language and outcome code or "idle"
	Version  string                       // of the program, for the technician and for monitoring
	Status   func() Status                // asked by one goroutine every second, and when an outcome belies it; never while one is being shown
	Now      func() time.Time             // wall time, for the hour an outcome is counted in; nil is time.Now
	Logger   *slog.Logger
}

// Status is how the gate is doing.
type Status struct {
	InService   bool             // visitors can be served
	Reached     bool             // the visit server answered lately
	KeyExchange string           // by which it is reached, "" if it was not since the start
	Backlog     uint64           // visits not yet delivered
	OldestKept  time.Duration    // since the oldest record in the journal was read, delivered or not; 0 if there is none
	Overdue     time.Duration    // for how long something has been kept past its end, 0 if nothing is
	Clock       visit.ClockState // how well the gate knows the time
	Faults      []health.Fault   // worst first, as health.Board.Shown returns them
}

const (
	pollEvery  = time.Second      // how often Status is asked
	beatEvery  = 2 * time.Second  // how often a page hears from the gate at least; the page gives up after three
	statusAge  = 10 * time.Second // after which a status is too old to be believed
	maxHold    = 10 * time.Second // an outcome is never shown longer
	writeLimit = 5 * time.Second  // within which a page must take an event
	endLimit   = time.Second      // within which pages must let go when the gate ends
)

// Screen serves the pages. Make it with New, then let Run serve.
type Screen struct {
	opts     Options
	listener *ownedListener
	hub      *hub
	tally    *tally
	started  time.Time
	maxHold  time.Duration
	doubt    chan struct{} // receives when the status is to be asked at once

	mu     sync.Mutex
	status Status
	asked  time.Time // when status was got; zero before the first
}

// New checks the options. Pages are answered once Run runs; until then browsers wait. If Run is never called, the caller
// must Close, which closes the listener; after an error the listener is still the caller's.
func New(opts Options) (*Screen, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if !known(opts.Language) || opts.Second != "" && !known(opts.Second) {
		return nil, fmt.Errorf("screen: languages %q and %q: there are %v", opts.Language, opts.Second, languages)
	}
	at := opts.Listener.Addr().String()
	if host, _, err := net.SplitHostPort(at); err != nil || !loopback(host) {
		return nil, fmt.Errorf("screen: address %s is not on this device alone; use 127.0.0.1, [::1] or localhost", at)
	}
	return &Screen{
		opts: opts, listener: &ownedListener{opts.Listener, userOf}, hub: newHub(), tally: newTally(), started: opts.Now(),
		maxHold: maxHold, doubt: make(chan struct{}, 1),
	}, nil
}

// URL is the address of the visitor's screen. A page for one lane of several is URL()+"?lane=NAME".
func (s *Screen) URL() string { return "http://" + s.listener.Addr().String() + "/" }

// Close gives up the address without ever having run.
func (s *Screen) Close() error { return s.listener.Close() }

// Show shows and counts an outcome for hold, at most 10 s. It never blocks: each page gets the latest outcome as soon as
// it can take it, and none that is already over, or that it could begin to show only after the moment by, if that is set.
func (s *Screen) Show(o visit.Outcome, lane string, hold time.Duration, by time.Time) {
	s.tally.add(o, s.opts.Now())
	now := time.Now()
	s.hub.show(shown{outcome: o, lane: lane, from: now, until: now.Add(min(hold, s.maxHold)), by: by})
	if status, _ := s.current(); o == visit.OutOfService && status.InService { // not any more, it seems
		select {
		case s.doubt <- struct{}{}:
		default:
		}
	}
}

// Run serves until ctx ends, then returns nil when every page is let go; or an error if it cannot serve.
func (s *Screen) Run(ctx context.Context) error {
	polling, stop := context.WithCancel(ctx)
	var poller sync.WaitGroup
	poller.Go(func() { s.poll(polling) })
	err := httpserver.Run(ctx, s.listener, httpserver.Options{
		Handler: s.handler(), Logger: s.opts.Logger, HeaderTimeout: 5 * time.Second, WriteTimeout: writeLimit, ShutdownTimeout: endLimit,
		MaxConns: maxConns, Origin: ownerOf, ConnContext: withOwner,
	})
	stop()
	poller.Wait()
	if errors.Is(err, context.DeadlineExceeded) { // a page that no longer reads was cut off
		return nil
	}
	if err != nil {
		return fmt.Errorf("screen: %w", err)
	}
	return nil
}

func (s *Screen) poll(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		status := s.opts.Status()
		s.mu.Lock()
		s.status, s.asked = status, time.Now()
		s.mu.Unlock()
		s.hub.wake()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.doubt:
		}
	}
}

// current returns the last status and whether it is young enough to be believed.
func (s *Screen) current() (Status, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status, !s.asked.IsZero() && time.Since(s.asked) < statusAge
}
