package bench

import (
	"context"
	"errors"
	"time"

	"github.com/kipass/kipass/lab/internal/process"
	"github.com/kipass/kipass/protocol/wire"
)

const (
	singlesLap = 300 // requests
	singleLaps = 12  // of either server
)

// measureSingle sends one visit per request over a kept TLS connection: what an unhurried gate costs the server, beside
// a bare server that does nothing with the request but to keep it durably.
func measureSingle(ctx context.Context, s *site) (figures []Figure, err error) {
	who, err := newScheme()
	if err != nil {
		return nil, err
	}
	server, err := startCentral(ctx, s, who)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.close()) }()
	gate, send, err := newGate(ctx, server)
	if err != nil {
		return nil, err
	}
	least, err := startBare(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, least.close()) }()
	sendBare, err := least.connect(nil)
	if err != nil {
		return nil, err
	}
	whole := &requests{server: server.process, one: func() (time.Duration, error) {
		body, err := gate.next(1)
		if err != nil {
			return 0, err
		}
		return timed(func() error { return gate.deliver(ctx, send, body) })()
	}}
	same, err := gate.next(1)
	if err != nil {
		return nil, err
	}
	if err := gate.deliver(ctx, send, same); err != nil {
		return nil, err
	}
	bare := &requests{server: least.process, one: timed(func() error {
		_, err := sendBare(ctx, bareOne, wire.TypeBatch, same)
		return err
	})}
	for n := range singleLaps + 1 { // the first warms up
		for i := range 2 {
			r := []*requests{whole, bare}[turn(i, n, 2)]
			if n == 1 {
				r.reset()
			}
			if err := r.lap(ctx); err != nil {
				return nil, err
			}
		}
		s.say("%d of %d requests", n*singlesLap, singleLaps*singlesLap)
	}
	const of = "a TLS handler that reads as many bytes, commits one row durably to one Pebble, and answers"
	return []Figure{
		comparedTimes("server_cpu_per_request", "µs", 1e6/singlesLap, whole.cpu, bare.cpu, of,
			atMost(1.6, "the gate's certificate is looked up, its turn kept, the record opened, sealed again, and the journal's account taken forward")),
		comparedTimes("request_round_trip_median", "ms", 1e3, whole.took, bare.took, of,
			atMost(1.5, "of the time most is the disk's")),
	}, nil
}

// newGate enrols a gate and returns its batches and its kept connection.
func newGate(ctx context.Context, server *central) (*batches, sender, error) {
	stranger, err := server.connect(nil)
	if err != nil {
		return nil, nil, err
	}
	certificate, key, err := enrol(ctx, stranger, server.code)
	if err != nil {
		return nil, nil, err
	}
	send, err := server.connect(certificate)
	if err != nil {
		return nil, nil, err
	}
	gate, err := newBatches(key)
	return gate, send, err
}

// startBare starts a bare server in a process of its own.
func startBare(ctx context.Context, s *site) (*central, error) {
	c := &central{dir: s.path("bare")}
	var err error
	c.process, c.url, err = s.programs.Start(ctx, "ready", nil, "kipass-lab", "bare-server", "--data", c.dir)
	return c, err
}

// requests are sent to one server, one after the other.
type requests struct {
	server *process.Process
	one    func() (time.Duration, error)
	took   laps
	cpu    laps // the server's, of each lap
}

func (r *requests) reset() { r.took, r.cpu = nil, nil }

func (r *requests) lap(ctx context.Context) error {
	before, err := r.server.CPU()
	if err != nil {
		return err
	}
	for range singlesLap {
		if err := ctx.Err(); err != nil {
			return err
		}
		span, err := r.one()
		if err != nil {
			return err
		}
		r.took = append(r.took, span)
	}
	after, err := r.server.CPU()
	r.cpu = append(r.cpu, after-before)
	return err
}
