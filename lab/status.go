package lab

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// metric reads one figure without labels from the gate's metrics.
func (s *stage) metric(ctx context.Context, name string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.screen+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("the gate has no metric %s", name)
}

// backlog returns how many visits wait on the gate.
func (s *stage) backlog(ctx context.Context) (int, error) {
	n, err := s.metric(ctx, "kipass_gate_backlog_visits")
	return int(n), err
}

// inService waits until the gate is enrolled and serves visitors.
func (s *stage) inService(ctx context.Context) error {
	for began := time.Now(); time.Since(began) < readyWithin; {
		if on, err := s.metric(ctx, "kipass_gate_in_service"); err == nil && on == 1 {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("the gate was not in service within %v", readyWithin)
}

// knowsTime reports whether the gate's clock is trusted.
func (s *stage) knowsTime(ctx context.Context) bool {
	untrusted, err := s.metric(ctx, `kipass_gate_clock_state{state="untrusted"}`)
	return err == nil && untrusted == 0
}
