package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kipass/kipass/firmware/journal"
	"github.com/kipass/kipass/lab/internal/process"
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

// measureDrain lets the uplink empty a filled journal into a visit server in a process of its own, over TLS 1.3, in turns
// with a bare loop that does the same with a bare database and a bare server.
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
	least, err := newBareDrain(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, least.close()) }()
	var whole, bare drained
	for n := range drains + 1 { // the first warms up
		span, cpu, err := drainJournal(ctx, s, server, identity, j)
		if err != nil {
			return nil, err
		}
		bareSpan, bareCPU, err := least.drain(ctx)
		if err != nil {
			return nil, err
		}
		s.say("drained in %v, processor time %v; bare in %v, %v", span.Round(time.Millisecond), cpu.Round(time.Millisecond),
			bareSpan.Round(time.Millisecond), bareCPU.Round(time.Millisecond))
		if n > 0 {
			whole.add(span, cpu)
			bare.add(bareSpan, bareCPU)
		}
	}
	n, err := server.stored(ctx, s)
	if err != nil {
		return nil, err
	}
	if n != (drains+1)*backlog {
		return nil, fmt.Errorf("the server stores %d of %d visits", n, (drains+1)*backlog)
	}
	const of = "a loop that reads as many bytes from bbolt, posts them over TLS to a handler that commits them to Pebble, and commits its place"
	return []Figure{
		comparedRates("sync_drain", "visits/s", backlog, whole.span, bare.span, of,
			atLeast(0.4, "each visit is also opened, checked, named by a keyed digest and sealed again under its day, and chained at both ends")),
		comparedTimes("sync_cpu_both_ends", "µs/visit", 1e6/backlog, whole.cpu, bare.cpu, of,
			atMost(2.5, "as for sync_drain")),
	}, nil
}

// drained is how long drains took, and the processor time of both ends.
type drained struct{ span, cpu laps }

func (d *drained) add(span, cpu time.Duration) {
	d.span, d.cpu = append(d.span, span), append(d.cpu, cpu)
}

// drainJournal fills the journal and has a new uplink empty it. The first one enrols.
func drainJournal(
	ctx context.Context, s *site, server *central, identity *uplink.Identity, j *journal.Journal,
) (span, cpu time.Duration, err error) {
	source := &emptying{Journal: j, empty: make(chan struct{})}
	link, err := newLink(server, identity, source)
	if err != nil {
		return 0, 0, err
	}
	if j.Stats().Head == 0 {
		if _, err := link.Enrol(ctx, server.code); err != nil {
			return 0, 0, err
		}
	}
	s.say("journalling %d visits", backlog)
	if err := spread(fillers, backlog, func() error {
		_, err := j.Append(ctx, newVisit(time.Now()))
		return err
	}); err != nil {
		return 0, 0, err
	}
	source.head.Store(j.Stats().Head)
	return drainOnce(ctx, server, link, source)
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
	before, err := bothEnds(server.process)
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
	after, err := bothEnds(server.process)
	return span, after - before, err
}

// bothEnds returns the processor time of this process and a server's.
func bothEnds(server *process.Process) (time.Duration, error) {
	far, err := server.CPU()
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
