package chain

import (
	"context"

	"github.com/kipass/kipass/lab/internal/metrics"
)

// backlog returns how many visits wait on the gate.
func (s *stage) backlog(ctx context.Context) (int, error) {
	n, err := metrics.Read(ctx, s.screen, "kipass_gate_backlog_visits")
	return int(n), err
}

// inService waits until the gate is enrolled and serves visitors.
func (s *stage) inService(ctx context.Context) error {
	return metrics.AwaitService(ctx, s.screen, readyWithin)
}

// knowsTime reports whether the gate's clock is trusted.
func (s *stage) knowsTime(ctx context.Context) bool {
	untrusted, err := metrics.Read(ctx, s.screen, `kipass_gate_clock_state{state="untrusted"}`)
	return err == nil && untrusted == 0
}
