package chain

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/kipass/kipass/protocol/visit"
)

// viewer looks at the visitor's screen as a browser does and tells what it shows.
type viewer struct {
	url      string
	outcomes chan visit.Outcome // in the order shown
	connects chan struct{}      // receives after each (re)connection
}

func newViewer(url string) *viewer {
	return &viewer{url: url, outcomes: make(chan visit.Outcome, 64), connects: make(chan struct{}, 1)}
}

// run keeps looking until ctx ends; a screen that is gone is looked for again.
func (v *viewer) run(ctx context.Context) {
	for ctx.Err() == nil {
		v.look(ctx)
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// look reads the screen's events until they end.
func (v *viewer) look(ctx context.Context) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.url+"/events", nil)
	if err != nil {
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return
	}
	lines := bufio.NewScanner(resp.Body)
	first := true
	for lines.Scan() {
		if first { // the stream has begun: nothing shown from here on is missed
			first = false
			select {
			case v.connects <- struct{}{}:
			default:
			}
		}
		data, ok := strings.CutPrefix(lines.Text(), "data:")
		if !ok {
			continue
		}
		var event struct {
			Outcome string `json:"outcome"`
		}
		if json.Unmarshal([]byte(data), &event) != nil || event.Outcome == "" {
			continue
		}
		o, err := visit.ParseOutcome(event.Outcome)
		if err != nil {
			continue
		}
		select {
		case v.outcomes <- o:
		case <-ctx.Done():
			return
		}
	}
}

// clear forgets what was shown and not looked at.
func (v *viewer) clear() {
	for {
		select {
		case <-v.outcomes:
		default:
			return
		}
	}
}

// next waits for the next outcome; ok is false if none is shown in time.
func (v *viewer) next(ctx context.Context, within time.Duration) (o visit.Outcome, ok bool) {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case o := <-v.outcomes:
		return o, true
	case <-timer.C:
	case <-ctx.Done():
	}
	return visit.OutOfService, false
}
