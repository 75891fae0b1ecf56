package visitserver

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/kipass/kipass/internal/guard"
	"github.com/kipass/kipass/internal/httpserver"
)

// metrics answers GET /metrics on the operator's socket: how many gates have an alert that nobody has acknowledged, by
// alert – any of them above 0 brings a person to look –, and how old the oldest day is that is kept.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) error {
	alerts, err := s.Alerts(r.Context())
	if err != nil {
		return err
	}
	kept, err := s.kept(r.Context())
	if err != nil {
		return err
	}
	text := alertMetrics(alerts) + s.guard.Look().Metrics("visits", kept.all())
	httpserver.Write(w, http.StatusOK, guard.MetricsType, []byte(text))
	return nil
}

func alertMetrics(alerts []Alert) string {
	gates := map[string]int{}
	for _, a := range allAlerts {
		gates[a] = 0
	}
	for _, a := range alerts {
		gates[a.Alert]++
	}
	var b strings.Builder
	b.WriteString("# HELP kipass_visits_alerts Gates with an alert that no operator has acknowledged.\n" +
		"# TYPE kipass_visits_alerts gauge\n")
	for _, a := range slices.Sorted(maps.Keys(gates)) {
		fmt.Fprintf(&b, "kipass_visits_alerts{alert=%q} %d\n", a, gates[a])
	}
	return b.String()
}
