// Package metrics reads what a running gate tells of itself.
package metrics

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const patience = 2 * time.Second

// Read reads one figure of a gate's metrics; screen is the URL of its screen without the last slash, name the figure's
// name, with its labels if it has any.
func Read(ctx context.Context, screen, name string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, screen+"/metrics", nil)
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

// AwaitService waits until the gate is enrolled and serves visitors.
func AwaitService(ctx context.Context, screen string, within time.Duration) error {
	for began := time.Now(); time.Since(began) < within; {
		if on, err := Read(ctx, screen, "kipass_gate_in_service"); err == nil && on == 1 {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("the gate was not in service within %v", within)
}
