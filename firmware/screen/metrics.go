package screen

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/protocol/visit"
)

// metrics answers in Prometheus' text format, version 0.0.4.
func (s *Screen) metrics(w http.ResponseWriter, _ *http.Request) error {
	status, fresh := s.current()
	var e exposition
	e.family("kipass_gate_build_info", "gauge", "The program's version, as a label.")
	e.sample(1, "version", s.opts.Version)
	e.family("kipass_gate_start_time_seconds", "gauge", "When the gate started, in seconds since 1970.")
	e.sample(s.started.Unix())
	e.family("kipass_gate_outcomes_total", "counter", "Presentations by what they led to, since the start.")
	totals := s.tally.totals()
	for _, o := range visit.Outcomes() {
		e.sample(totals[o], "outcome", o.String())
	}
	e.family("kipass_gate_screen_pages", "gauge", "Open pages of the visitor's screen.")
	e.sample(s.hub.open())
	e.family("kipass_gate_in_service", "gauge", "1 while visitors can be served.")
	e.sample(bit(fresh && status.InService))
	if fresh {
		s.statusMetrics(&e, status)
	}
	httpserver.Write(w, http.StatusOK, "text/plain; version=0.0.4; charset=utf-8", []byte(e.text.String()))
	return nil
}

func (s *Screen) statusMetrics(e *exposition, status Status) {
	e.family("kipass_gate_server_reached", "gauge", "1 while the visit server answers.")
	e.sample(bit(status.Reached))
	e.family("kipass_gate_backlog_visits", "gauge", "Visits not yet delivered.")
	e.sample(status.Backlog)
	e.family("kipass_gate_oldest_kept_seconds", "gauge", "Since the oldest record that is kept was read, delivered or not, 0 if none is.")
	e.sample(int64(status.OldestKept / time.Second))
	e.family("kipass_gate_overdue_seconds", "gauge", "For how long something that is kept should have been destroyed.")
	e.sample(int64(status.Overdue / time.Second))
	e.family("kipass_gate_clock_state", "gauge", "1 for the state the clock is in.")
	for _, c := range []visit.ClockState{visit.ClockUntrusted, visit.ClockHoldover, visit.ClockSynced} {
		e.sample(bit(c == status.Clock), "state", c.String())
	}
	e.family("kipass_gate_faults", "gauge", "Faults that hold now, by code.")
	held := map[health.Code]int{}
	for _, f := range status.Faults {
		held[f.Code]++
	}
	for _, code := range health.Codes() {
		e.sample(held[code], "code", string(code), "severity", health.KindOf(code).Severity.String())
	}
}

func bit(on bool) int {
	if on {
		return 1
	}
	return 0
}

// exposition builds a page of metrics.
type exposition struct {
	text strings.Builder
	name string
}

func (e *exposition) family(name, kind, help string) {
	e.name = name
	fmt.Fprintf(&e.text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// sample writes one line of the current family; labels are names and values in turn.
func (e *exposition) sample(value any, labels ...string) {
	e.text.WriteString(e.name)
	for i := 0; i+1 < len(labels); i += 2 {
		fmt.Fprintf(&e.text, `%s%s="%s"`, map[bool]string{true: "{", false: ","}[i == 0], labels[i], labelEscapes.Replace(labels[i+1]))
	}
	if len(labels) > 0 {
		e.text.WriteByte('}')
	}
	fmt.Fprintf(&e.text, " %v\n", value)
}
