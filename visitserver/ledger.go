package visitserver

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/kipass/kipass/protocol/visit"
)

// Ledger is the server's side of the account between gates and server: what it has taken from each journal and how many
// visits that made. It holds no code and nothing of a visitor.
type Ledger struct {
	Facilities []FacilityLedger `json:"facilities"`
	Gates      []GateLedger     `json:"gates"`
	Destroyed  []Tombstone      `json:"destroyed"`
	HeldBack   *HeldBack        `json:"held_back,omitempty"` // by the last look for days to destroy
	SetAside   []string         `json:"set_aside,omitempty"` // days of which a key or database is damaged or incomplete
	Oldest     *OldestKept      `json:"oldest,omitempty"`    // of which anything is kept
	Strays     []string         `json:"strays,omitempty"`    // what lies among the days and is none; it is never destroyed
}

// OldestKept is the oldest day of which the server keeps anything.
type OldestKept struct {
	Day     string `json:"day"`
	Overdue string `json:"overdue,omitempty"` // for how long it should have been gone
}

// FacilityLedger counts a facility's visits, those of destroyed days included.
type FacilityLedger struct {
	Facility visit.Facility `json:"facility"`
	Display  string         `json:"display"`
	Stored   uint64         `json:"stored"`
}

// GateLedger is a gate with its journals.
type GateLedger struct {
	Facility  visit.Facility  `json:"facility"`
	Gate      visit.Gate      `json:"gate"`
	Enrolled  *time.Time      `json:"enrolled,omitempty"`
	Revoked   *time.Time      `json:"revoked,omitempty"`
	Received  time.Time       `json:"received,omitzero"` // last batch
	Heartbeat *HeartbeatRow   `json:"heartbeat,omitempty"`
	Journals  []JournalLedger `json:"journals"`
	Alerts    []Alert         `json:"alerts,omitempty"` // that no operator has acknowledged
}

// JournalLedger is what was taken from one journal. Last = Missing + Stored + Again + Refused as long as there was no
// alert of a fork or a roll-back.
type JournalLedger struct {
	Journal string         `json:"journal"` // hexadecimal
	Last    uint64         `json:"last"`    // highest sequence taken
	Chain   string         `json:"chain"`   // chain value after it, hexadecimal
	Stored  uint64         `json:"stored"`  // visits stored
	Again   uint64         `json:"again"`   // records of visits stored already
	Refused uint64         `json:"refused"` // for good
	Missing uint64         `json:"missing"` // sequences that never came
	Alerts  map[string]int `json:"alerts,omitempty"`
	// Doubtful says that it may be the journal of a copy of the gate: see the gate's alerts.
	Doubtful bool `json:"doubtful,omitempty"`
}

// Ledger returns the account as it stands.
func (s *Server) Ledger(ctx context.Context) (Ledger, error) {
	l := Ledger{Facilities: []FacilityLedger{}, Gates: []GateLedger{}, Destroyed: []Tombstone{}, HeldBack: s.held.Load()}
	err := each(ctx, s, tableFacility, "", func(key string, row FacilityRow) error {
		n, err := s.store.Stored(ctx, visit.Facility(key))
		l.Facilities = append(l.Facilities, FacilityLedger{Facility: visit.Facility(key), Display: row.Display, Stored: n})
		return err
	})
	if err != nil {
		return Ledger{}, err
	}
	err = each(ctx, s, tableTerminal, "", func(key string, row TerminalRow) error {
		g, err := s.gateLedger(ctx, key, row)
		l.Gates = append(l.Gates, g)
		return err
	})
	if err != nil {
		return Ledger{}, err
	}
	err = each(ctx, s, tableTombstone, "", func(_ string, t Tombstone) error {
		l.Destroyed = append(l.Destroyed, t)
		return nil
	})
	if err != nil {
		return Ledger{}, err
	}
	if l.SetAside, err = s.setAside(ctx); err != nil {
		return Ledger{}, err
	}
	if l.Oldest, err = s.oldestKept(ctx); err != nil {
		return Ledger{}, err
	}
	if l.Strays, err = s.strays(ctx); err != nil {
		return Ledger{}, err
	}
	return l, nil
}

func (s *Server) oldestKept(ctx context.Context) (*OldestKept, error) {
	o, err := s.Oldest(ctx)
	if o == nil || err != nil {
		return nil, err
	}
	out := &OldestKept{Day: o.Day.String()}
	if o.Overdue > 0 {
		out.Overdue = o.Overdue.Round(time.Second).String()
	}
	return out, nil
}

func (s *Server) strays(ctx context.Context) ([]string, error) {
	rows, err1 := s.store.Strays(ctx)
	keys, err2 := s.keys.Strays()
	seals, err3 := s.seals.ring.Strays()
	return slices.Concat(rows, keys, seals), errors.Join(err1, err2, err3)
}

// setAside are the days of which a key or a database was found damaged, or a database to have lost visits.
func (s *Server) setAside(ctx context.Context) ([]string, error) {
	days, err := s.store.SetAside(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := s.keys.SetAside()
	if err != nil {
		return nil, err
	}
	days = append(days, keys...)
	slices.Sort(days)
	var names []string
	for _, d := range slices.Compact(days) {
		names = append(names, d.String())
	}
	return names, nil
}

func (s *Server) gateLedger(ctx context.Context, key string, row TerminalRow) (GateLedger, error) {
	f, g, _ := strings.Cut(key, "/")
	out := GateLedger{
		Facility: visit.Facility(f), Gate: visit.Gate(g), Enrolled: row.Enrolled, Revoked: row.Revoked,
		Journals: []JournalLedger{},
	}
	var err error
	if out.Alerts, err = s.alertsOf(ctx, key+"/"); err != nil {
		return GateLedger{}, err
	}
	var gate gateRow
	if _, err := load(ctx, s.store, tableGate, key, &gate); err != nil {
		return GateLedger{}, err
	}
	out.Received = gate.Received
	var heartbeat HeartbeatRow
	raw, err := load(ctx, s.store, tableHeartbeat, key, &heartbeat)
	if err != nil {
		return GateLedger{}, err
	}
	if raw != nil {
		out.Heartbeat = &heartbeat
	}
	err = each(ctx, s, tableJournal, key+"/", func(k string, j JournalRow) error {
		out.Journals = append(out.Journals, JournalLedger{
			Journal: strings.TrimPrefix(k, key+"/"), Last: j.Last, Chain: hex.EncodeToString(j.Chain), Stored: j.Stored,
			Again: j.Again, Refused: j.Refused, Missing: j.Missing, Alerts: j.Alerts, Doubtful: j.Doubtful,
		})
		return nil
	})
	if err != nil {
		return GateLedger{}, err
	}
	return out, nil
}
