package visitserver

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/store"
)

// DayCounts is what a facility's manager sees of a day.
type DayCounts struct {
	Facility visit.Facility `json:"facility"`
	Day      string         `json:"day"`
	Total    uint64         `json:"total"`
	Hours    []HourCount    `json:"hours"`
	Damaged  bool           `json:"damaged,omitempty"` // the day is damaged: visits may be missing
}

// HourCount is the visits a gate took in an hour, without zeros.
type HourCount struct {
	Gate   visit.Gate `json:"gate"`
	Hour   int        `json:"hour"` // 0 to 23, Asia/Seoul
	Visits uint64     `json:"visits"`
}

// counts answers GET /v1/facilities/{facility}/counts?day=2006-01-02. A token of another facility is as good as none:
// the answer does not tell whether the facility exists.
func (s *Server) counts(w http.ResponseWriter, r *http.Request) error {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	var row managerRow
	raw, err := load(r.Context(), s.store, tableManager, hashToken(text), &row)
	if err != nil {
		return err
	}
	if !ok || raw == nil || string(row.Facility) != r.PathValue("facility") {
		w.Header().Set("WWW-Authenticate", "Bearer")
		return httpserver.Unauthenticated.With("a manager's token of this facility is needed")
	}
	day, err := day.Parse(r.URL.Query().Get("day"))
	if err != nil {
		return httpserver.BadRequest.With("day must be of the form 2006-01-02")
	}
	counts, err := s.DayCounts(r.Context(), row.Facility, day)
	if err != nil {
		return err
	}
	httpserver.WriteJSON(w, http.StatusOK, counts)
	return nil
}

// DayCounts returns a facility's counts of a day.
func (s *Server) DayCounts(ctx context.Context, f visit.Facility, d day.Day) (DayCounts, error) {
	counts, err := s.store.Counts(ctx, f, d)
	damaged := errors.Is(err, store.ErrDamaged)
	if err != nil && !damaged {
		return DayCounts{}, err
	}
	out := DayCounts{Facility: f, Day: d.String(), Hours: []HourCount{}, Damaged: damaged}
	for _, c := range counts {
		out.Total += c.N
		out.Hours = append(out.Hours, HourCount{Gate: c.Gate, Hour: c.Hour, Visits: c.N})
	}
	return out, nil
}
