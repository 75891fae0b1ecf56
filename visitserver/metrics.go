package visitserver

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/kipass/kipass/internal/httpserver"
)

// typeMetrics is Prometheus' text exposition format.
const typeMetrics = "text/plain; version=0.0.4; charset=utf-8"

// alertMetrics answers GET /alerts/metrics on the operator's socket: how many gates have an alert that nobody has
// acknowledged, by alert. An alert of the monitoring on any of them above 0 brings a person to look.
func (s *Server) alertMetrics(w http.ResponseWriter, r *http.Request) error {
	alerts, err := s.Alerts(r.Context())
	if err != nil {
		return err
	}
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
	httpserver.Write(w, http.StatusOK, typeMetrics, []byte(b.String()))
	return nil
}
