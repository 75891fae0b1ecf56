package sim

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kipass/kipass/internal/guard"
	"github.com/kipass/kipass/visitserver"
)

// What servers alarm their operators with, they tell in metrics (Prometheus' text format).

const (
	// proveLag is until a server whose clock was wrong, or that was off, or knows nothing yet, knows the time again.
	proveLag = guard.Proof + 2*lookSeldom
	// dueLag is until what is due has been destroyed.
	dueLag = 2 * lookSeldom
	// doubtful is how far off a clock is for certain in doubt.
	doubtful = 2 * time.Hour
)

// readMetrics reads samples by their names, labels included.
func readMetrics(text string) map[string]float64 {
	samples := map[string]float64{}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if n, err := strconv.ParseFloat(value, 64); ok && err == nil && !strings.HasPrefix(name, "#") {
			samples[name] = n
		}
	}
	return samples
}

func (v *visitParty) metrics() (map[string]float64, error) {
	client := &http.Client{Transport: &http.Transport{DialContext: v.w.net.Dial, DisableKeepAlives: true}}
	resp, err := client.Get("http://" + operatorAddress + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return readMetrics(string(text)), err
}

// lately reports whether one of these troubles is there, or was not long ago.
func (w *world) lately(within time.Duration, troubles ...string) bool {
	now := stretch{time.Now(), time.Now()}
	return slices.ContainsFunc(troubles, func(what string) bool {
		return covered(now, prolonged(w.troubles.of(what), within))
	})
}

// warnings holds what the servers tell their operators against what is wrong.
func (w *world) warnings() {
	if w.visits.isOff() {
		return
	}
	m, err := w.visits.metrics()
	if err != nil {
		w.violated("the visit server tells no metrics: %v", err)
		return
	}
	w.sabotaged(mutedDoubt, func() { m["kipass_visits_clock_in_doubt"] = 0 })
	w.sabotaged(falseAlert, func() { m[`kipass_visits_alerts{alert="gap"}`] = 1 })
	lost := w.lately(proveLag, serverOff, serverRestored) || w.young(proveLag)
	doubted, overdue := m["kipass_visits_clock_in_doubt"] > 0, seconds(m["kipass_visits_overdue_seconds"])
	w.visits.clock.mu.Lock()
	off := w.visits.clock.offset.Abs()
	w.visits.clock.mu.Unlock()
	switch {
	case off > doubtful && !doubted && !lost:
		w.violated("the visit server's clock is off by %v, and it does not tell", off)
	case doubted && !lost && !w.lately(proveLag, serverClock):
		w.violated("the visit server doubts its clock without a cause")
	}
	if overdue > dueLag && !lost && !w.lately(proveLag, serverClock) && len(w.damaged) == 0 {
		w.violated("the visit server says that something is overdue by %v, without a cause", overdue)
	}
	for name, n := range m {
		if strings.HasPrefix(name, "kipass_visits_alerts{") && n > 0 && !w.suspicious() {
			w.violated("the visit server has an alert without a cause: %s", name)
		}
		if w.copies == 0 && n > 0 && (name == alertMetric(visitserver.AlertRenewal) || name == alertMetric(visitserver.AlertCertificates)) {
			w.violated("the visit server takes one gate for two: %s", name)
		}
	}
}

func alertMetric(alert string) string { return fmt.Sprintf("kipass_visits_alerts{alert=%q}", alert) }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// suspicious tells whether anything has happened that may look as if a gate were copied, or its journal lost.
func (w *world) suspicious() bool {
	strange := len(w.damaged) > 0 || w.copies > 0 || w.lately(pastLag, serverClock, serverRestored)
	for _, g := range w.gates {
		strange = strange || len(g.troubles.of(gateClock)) > 0 || !g.forgot.IsZero() || !g.changed.IsZero()
	}
	return strange
}

// isOff tells whether the server does not run.
func (v *visitParty) isOff() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.dead || v.cancel == nil
}
