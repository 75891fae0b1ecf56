package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kipass/kipass/firmware/journal"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
	"github.com/kipass/kipass/uplink"
)

const (
	backlog     = 100_000 // visits in the journal before a drain, whole batches
	drains      = 3
	fillers     = 1024 // goroutines that fill the journal
	drainWithin = 2 * time.Minute
)

// measureDrain lets the uplink empty a filled journal into a visit server in a process of its own, over TLS 1.3.
func measureDrain(ctx context.Context, s *site) (figures []Figure, err error) {
	who, err := newScheme()
	if err != nil {
		return nil, err
	}
	server, err := startCentral(ctx, s, who)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.close()) }()
	j, err := openJournal(s.path("journal"), visit.SealPublicKey{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	identity, err := uplink.OpenIdentity(s.path("identity"))
	if err != nil {
		return nil, err
	}
	var took laps
	var used []float64
	for n := range drains + 1 { // the first warms up
		source := &emptying{Journal: j, empty: make(chan struct{})}
		link, err := newLink(server, identity, source)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			if _, err := link.Enrol(ctx, server.code); err != nil {
				return nil, err
			}
		}
		s.say("journalling %d visits", backlog)
		if err := spread(fillers, backlog, func() error {
			_, err := j.Append(ctx, newVisit(time.Now()))
			return err
		}); err != nil {
			return nil, err
		}
		source.head.Store(j.Stats().Head)
		span, cpu, err := drainOnce(ctx, server, link, source)
		if err != nil {
			return nil, err
		}
		s.say("drained in %v, processor time %v", span.Round(time.Millisecond), cpu.Round(time.Millisecond))
		if n > 0 {
			took, used = append(took, span), append(used, cpu.Seconds()*1e6/backlog)
		}
	}
	n, err := server.stored(ctx, s)
	if err != nil {
		return nil, err
	}
	if n != (drains+1)*backlog {
		return nil, fmt.Errorf("the server stores %d of %d visits", n, (drains+1)*backlog)
	}
	slices.Sort(used)
	return []Figure{
		absolute("sync_drain", "visits/s", backlog/took.median(), atLeast(ours, 50_000)),
		absolute("sync_cpu_both_ends", "µs/visit", used[len(used)/2], atMost(ours, 10)),
	}, nil
}

func newLink(server *central, identity *uplink.Identity, source *emptying) (*uplink.Uplink, error) {
	base, err := url.Parse(server.url)
	if err != nil {
		return nil, err
	}
	pool, err := server.authorities()
	if err != nil {
		return nil, err
	}
	return uplink.New(uplink.Options{
		Server: base, CA: pool, Facility: benchFacility, Gate: benchGate, Identity: identity, Source: source, Provision: source,
		Heartbeat: func() wire.Heartbeat { return wire.Heartbeat{Clock: visit.ClockSynced.String()} },
		Logger:    slog.New(slog.DiscardHandler),
	})
}

// drainOnce returns how long the drain took, and the processor time of both ends.
func drainOnce(ctx context.Context, server *central, link *uplink.Uplink, source *emptying) (span, cpu time.Duration, err error) {
	before, err := bothEnds(server)
	if err != nil {
		return 0, 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	defer func() {
		cancel()
		err = errors.Join(err, <-done)
	}()
	began := time.Now()
	go func() { done <- link.Run(ctx) }()
	select {
	case <-source.empty:
	case <-time.After(drainWithin):
		return 0, 0, fmt.Errorf("not drained within %v: %s", drainWithin, link.Status().LastError)
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
	span = time.Since(began)
	after, err := bothEnds(server)
	return span, after - before, err
}

func bothEnds(server *central) (time.Duration, error) {
	far, err := server.process.CPU()
	if err != nil {
		return 0, err
	}
	var near syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &near); err != nil {
		return 0, err
	}
	return far + time.Duration(near.Utime.Nano()+near.Stime.Nano()), nil
}

// emptying is a journal that tells when everything up to its head is settled, and takes the server's sealing key.
type emptying struct {
	*journal.Journal
	head  atomic.Uint64
	empty chan struct{}
	seal  atomic.Pointer[visit.SealKeyID]
}

func (e *emptying) Settle(s visit.Settlement) error {
	if err := e.Journal.Settle(s); err != nil {
		return err
	}
	if s.Through == e.head.Load() {
		close(e.empty)
	}
	return nil
}

func (e *emptying) Holding() (uint64, visit.SealKeyID) {
	if id := e.seal.Load(); id != nil {
		return 1, *id
	}
	return 0, visit.SealKeyID{}
}

func (e *emptying) Provision(p wire.Provision) error {
	key, err := visit.ParseSealPublicKey(p.SealKey)
	if err != nil {
		return err
	}
	e.SetSealKey(key)
	id := key.ID()
	e.seal.Store(&id)
	return nil
}
