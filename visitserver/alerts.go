package visitserver

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/visit"
)

// Alerts of a gate's whole behaviour, beside those of one journal (AlertGap …). All stand in the register until an
// operator acknowledges them.
const (
	AlertNewJournal    = "new-journal"       // a known gate has come up with another journal, without having been enrolled anew
	AlertParallel      = "parallel-journals" // a journal goes on that another one had followed: two devices are at work
	AlertLate          = "late-records"      // visits of a time for which the gate had reported that all was delivered
	AlertSealKey       = "seal-key"          // a record is sealed to a key that was destroyed, or never was this server's
	AlertUnknownIssuer = "unknown-issuer"    // a record names an issuer that was never in a trust list
	AlertTrustList     = "trust-list"        // the gate has a newer trust list than the server: install it here
)

// allAlerts are the codes of all alerts.
var allAlerts = []string{
	AlertGap, AlertFork, AlertRollback, AlertNewJournal, AlertParallel, AlertLate, AlertUnknownIssuer, AlertTrustList, AlertSealKey,
	AlertRenewal, AlertCertificates,
}

const tableAlert = "alert" // by facility/gate/alert

// Alert is what an operator is to look at and to acknowledge.
type Alert struct {
	Facility visit.Facility `json:"facility"`
	Gate     visit.Gate     `json:"gate"`
	Alert    string         `json:"alert"`
	alertRow
}

// alertRow is an alert in the register.
type alertRow struct {
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	Count uint64    `json:"count"`
}

func (t terminalName) alertKey(alert string) string { return t.String() + "/" + alert }

// raise puts alerts of a gate into the register with e, and logs them. The caller holds the gate's lock.
func (s *Server) raise(ctx context.Context, e *edit, t terminalName, alerts ...string) error {
	now := s.now().UTC()
	for _, a := range alerts {
		raw, err := optional(s.store.Get(ctx, tableAlert, t.alertKey(a)))
		if err != nil {
			return err
		}
		var row alertRow
		if err := json.Unmarshal(raw, &row); err != nil { // none, or damaged
			row = alertRow{First: now}
		}
		row.Last = now
		row.Count++
		e.put(tableAlert, t.alertKey(a), raw, row)
		s.log.Warn("alert of a gate", "facility", t.facility, "gate", t.gate, "alert", a, "count", row.Count)
	}
	return nil
}

// alarm raises an alert of a request that changes nothing else. The caller holds the gate's lock.
func (s *Server) alarm(ctx context.Context, t terminalName, alert string) error {
	var e edit
	if err := s.raise(ctx, &e, t, alert); err != nil {
		return err
	}
	return e.apply(ctx, s.store)
}

// Alerts returns the alerts that nobody has acknowledged, by facility and gate.
func (s *Server) Alerts(ctx context.Context) ([]Alert, error) { return s.alertsOf(ctx, "") }

// alertsOf returns the alerts whose key begins with prefix.
func (s *Server) alertsOf(ctx context.Context, prefix string) ([]Alert, error) {
	all := []Alert{}
	err := each(ctx, s, tableAlert, prefix, func(key string, row alertRow) error {
		parts := strings.SplitN(key, "/", 3)
		if len(parts) != 3 {
			return fmt.Errorf("alert %q of the register names no gate", key)
		}
		all = append(all, Alert{Facility: visit.Facility(parts[0]), Gate: visit.Gate(parts[1]), Alert: parts[2], alertRow: row})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Acknowledge takes note that an operator has looked into a gate's alerts, in the audit log first, and returns them. Its
// journals are in doubt no longer: what is received from them from then on, and what was, carries no flag of them.
func (s *Server) Acknowledge(ctx context.Context, f visit.Facility, g visit.Gate) ([]Alert, error) {
	t := terminalName{f, g}
	mu := s.gates.of(t)
	mu.Lock()
	defer mu.Unlock()
	alerts, err := s.alertsOf(ctx, t.String()+"/")
	if err != nil {
		return nil, err
	}
	if len(alerts) == 0 {
		return nil, fmt.Errorf("gate %v has no alert", t)
	}
	var e edit
	entry := auditlog.Entry{Kind: auditlog.KindAcknowledged, At: s.now(), Facility: string(f), Gate: string(g), From: alerts[0].First}
	for _, a := range alerts {
		raw, err := s.store.Get(ctx, tableAlert, t.alertKey(a.Alert))
		if err != nil {
			return nil, err
		}
		e.remove(tableAlert, t.alertKey(a.Alert), raw)
		entry.Alerts = append(entry.Alerts, a.Alert)
		entry.Count += a.Count
		entry.From = slices.MinFunc([]time.Time{entry.From, a.First}, time.Time.Compare)
		entry.To = slices.MaxFunc([]time.Time{entry.To, a.Last}, time.Time.Compare)
	}
	if err := s.believeJournals(ctx, &e, t); err != nil {
		return nil, err
	}
	if _, err := s.audit.Append(entry); err != nil {
		return nil, err
	}
	return alerts, e.apply(ctx, s.store)
}

// believeJournals takes the doubt from a gate's journals.
func (s *Server) believeJournals(ctx context.Context, e *edit, t terminalName) error {
	gate, rawGate, err := s.loadGate(ctx, t)
	if err != nil {
		return err
	}
	if gate.Doubtful {
		gate.Doubtful = false
		e.put(tableGate, t.String(), rawGate, gate)
	}
	entries, err := s.store.List(ctx, tableJournal, t.String()+"/")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		var j JournalRow
		if err := j.decode(entry.Value); err != nil || !j.Doubtful {
			continue // a damaged row is begun anew with the next batch
		}
		j.Doubtful = false
		e.put(tableJournal, entry.Key, entry.Value, j)
	}
	return nil
}
