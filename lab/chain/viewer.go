package chain

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/kipass/kipass/protocol/visit"
)

// viewer looks at the visitor's screen as a browser does and tells what it shows.
type viewer struct {
	url      string
	begun    func() int // how many gates were begun to be started; the one before has ended then
	outcomes chan seen  // in the order shown

	mu sync.Mutex
	at int // which of the gates it looks at
}

// seen is an outcome that the screen has begun to show.
type seen struct {
	outcome visit.Outcome
	at      time.Time // with a monotonic reading
}

func newViewer(url string, begun func() int) *viewer {
	return &viewer{url: url, begun: begun, outcomes: make(chan seen, 64)}
}

// looksAt returns which of the gates the viewer looks at: nothing that this gate shows is missed.
func (v *viewer) looksAt() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.at
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
	gate := v.begun()
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
			if v.begun() != gate {
				return // which of the two this is, is not known
			}
			first = false
			v.mu.Lock()
			v.at = gate
			v.mu.Unlock()
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
		case v.outcomes <- seen{o, time.Now()}:
		case <-ctx.Done():
			return
		}
	}
}

// rest returns what was shown and not looked at.
func (v *viewer) rest() (all []seen) {
	for {
		select {
		case s := <-v.outcomes:
			all = append(all, s)
		default:
			return all
		}
	}
}

// next waits for the next outcome; ok is false if none is shown in time.
func (v *viewer) next(ctx context.Context, within time.Duration) (s seen, ok bool) {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case s := <-v.outcomes:
		return s, true
	case <-timer.C:
	case <-ctx.Done():
	}
	return seen{}, false
}
