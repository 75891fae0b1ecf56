package bench

import (
	"context"
	"errors"
	"time"
)

const (
	singles     = 3000 // requests
	singlesWarm = 300
)

// measureSingle sends one visit per request over a kept TLS connection: what an unhurried gate costs the server.
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
	stranger, err := server.connect(nil)
	if err != nil {
		return nil, err
	}
	certificate, key, err := enrol(ctx, stranger, server.code)
	if err != nil {
		return nil, err
	}
	send, err := server.connect(certificate)
	if err != nil {
		return nil, err
	}
	gate, err := newBatches(key)
	if err != nil {
		return nil, err
	}
	one := func() error {
		body, err := gate.next(1)
		if err != nil {
			return err
		}
		return gate.deliver(ctx, send, body)
	}
	for range singlesWarm {
		if err := one(); err != nil {
			return nil, err
		}
	}
	before, err := server.process.CPU()
	if err != nil {
		return nil, err
	}
	var took laps
	for range singles {
		span, err := timed(one)()
		if err != nil {
			return nil, err
		}
		took = append(took, span)
	}
	after, err := server.process.CPU()
	if err != nil {
		return nil, err
	}
	return []Figure{
		absolute("server_cpu_per_request", "µs", float64((after-before)/time.Microsecond)/singles, atMost(ours, 130)),
		absolute("request_round_trip_median", "ms", took.median()*1e3),
	}, nil
}
