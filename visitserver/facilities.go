package visitserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/store"
)

const tableFacility = "facility"

// FacilityRow is what the register holds of a facility.
type FacilityRow struct {
	Display string    `json:"display"` // name for people
	Added   time.Time `json:"added"`
}

// AddFacility registers a facility.
func (s *Server) AddFacility(ctx context.Context, f visit.Facility, display string) error {
	var e edit
	e.put(tableFacility, string(f), nil, FacilityRow{Display: display, Added: s.now().UTC()})
	err := e.apply(ctx, s.store)
	if errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("facility %s exists already", f)
	}
	return err
}

// AddTerminal registers a gate of a facility, or readies it for another device, and returns its enrolment code, which
// is kept as a hash only and ends after EnrolmentLife. Codes given out before for the gate end now; its certificates
// only when the new code is used. A revoked gate is taken back into service.
func (s *Server) AddTerminal(ctx context.Context, f visit.Facility, g visit.Gate) (string, error) {
	if _, err := s.store.Get(ctx, tableFacility, string(f)); err != nil {
		return "", fmt.Errorf("facility %s: %w", f, err)
	}
	t := terminalName{f, g}
	var row TerminalRow
	raw, err := load(ctx, s.store, tableTerminal, t.String(), &row)
	if err != nil {
		return "", err
	}
	now := s.now().UTC()
	var e edit
	if raw == nil {
		row.Added = now
		e.put(tableGate, t.String(), nil, gateRow{Added: now})
	}
	if row.Revoked != nil {
		row.Revoked, row.Certificates = nil, nil
	}
	if row.Code != "" {
		old, err := optional(s.store.Get(ctx, tableEnrolment, row.Code))
		if err != nil {
			return "", err
		}
		if old != nil {
			e.remove(tableEnrolment, row.Code, old)
		}
	}
	code := newEnrolmentCode()
	row.Code = hashCode(code)
	e.put(tableEnrolment, row.Code, nil, enrolmentRow{Facility: f, Gate: g, Expires: now.Add(EnrolmentLife)})
	e.put(tableTerminal, t.String(), raw, row)
	if err := e.apply(ctx, s.store); err != nil {
		return "", fmt.Errorf("adding terminal %v: %w", t, err)
	}
	return code, nil
}

// RevokeTerminal shuts a gate out from its next request on.
func (s *Server) RevokeTerminal(ctx context.Context, f visit.Facility, g visit.Gate) error {
	t := terminalName{f, g}
	var row TerminalRow
	raw, err := load(ctx, s.store, tableTerminal, t.String(), &row)
	if err != nil {
		return err
	}
	if raw == nil {
		return fmt.Errorf("terminal %v: %w", t, store.ErrNotFound)
	}
	now := s.now().UTC()
	row.Revoked = &now
	var e edit
	e.put(tableTerminal, t.String(), raw, row)
	return e.apply(ctx, s.store)
}
