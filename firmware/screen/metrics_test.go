package screen

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

func TestMetricsAreInPrometheusFormat(t *testing.T) {
	f := newFixture(t, Options{Language: "ko", Version: "1.0 \"a\\b\"\n"})
	f.Show(visit.Admitted, "front", time.Second, time.Time{})
	f.Show(visit.Admitted, "front", time.Second, time.Time{})
	f.Show(visit.Expired, "front", time.Second, time.Time{})
	f.set(Status{InService: true, Backlog: 1 << 40, OldestKept: 29*24*time.Hour + time.Second/2, Overdue: 90 * time.Minute, Clock: visit.ClockHoldover, Faults: append(faults, health.Fault{Code: health.ReaderLost, Subject: "back"})})
	w, body := f.get("/metrics", nil)
	if got := w.Header.Get("Content-Type"); got != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("Content-Type = %s", got)
	}
	for _, want := range []string{
		`kipass_gate_build_info{version="1.0 \"a\\b\"\n"} 1`,
		`kipass_gate_outcomes_total{outcome="admitted"} 2`, `kipass_gate_outcomes_total{outcome="expired"} 1`, `kipass_gate_outcomes_total{outcome="not-a-code"} 0`,
		`kipass_gate_in_service 1`, `kipass_gate_server_reached 0`, `kipass_gate_backlog_visits 1099511627776`,
		`kipass_gate_oldest_kept_seconds 2505600`, `kipass_gate_overdue_seconds 5400`,
		`kipass_gate_clock_state{state="holdover"} 1`, `kipass_gate_clock_state{state="synced"} 0`,
		`kipass_gate_faults{code="reader-lost",severity="degraded"} 2`, `kipass_gate_faults{code="journal-full",severity="down"} 1`, `kipass_gate_faults{code="offline",severity="notice"} 0`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("metrics lack %s\n%s", want, body)
		}
	}
	line := regexp.MustCompile(`^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{([a-z]+="([^"\\]|\\.)*",?)+\})? [0-9]+)$`)
	for l := range strings.Lines(body) {
		if !line.MatchString(strings.TrimSuffix(l, "\n")) {
			t.Errorf("no line of the format: %q", l)
		}
	}
}

func TestOutcomesAreCountedByHour(t *testing.T) {
	counted := newTally()
	at := time.Date(2026, 3, 1, 9, 59, 59, 0, day.Seoul())
	counted.add(visit.Admitted, at)
	counted.add(visit.Admitted, at.Add(time.Second).UTC())
	counted.add(visit.Expired, at) // the clock was set back
	counted.add(visit.Outcome(200), at)
	hours := counted.lastHours()
	if len(hours) != 2 || hours[0].Hour.Hour() != 10 || hours[1].Hour.Hour() != 9 {
		t.Fatalf("hours = %v", hours)
	}
	if hours[1].Counts[visit.Admitted] != 1 || hours[1].Counts[visit.Expired] != 1 || hours[0].Counts[visit.Admitted] != 1 {
		t.Errorf("hours = %v", hours)
	}
	for i := range 100 {
		counted.add(visit.NotACode, at.Add(time.Duration(i)*time.Hour))
	}
	if n, total := len(counted.lastHours()), counted.totals(); n != maxHours || total[visit.NotACode] != 100 || total[visit.Admitted] != 2 {
		t.Errorf("%d hours, totals %v", n, total)
	}
	if len(counts{}) != len(visit.Outcomes()) {
		t.Errorf("places for %d outcomes, there are %d", len(counts{}), len(visit.Outcomes()))
	}
}
