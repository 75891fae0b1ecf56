package visitserver

import (
	"context"
	"encoding/json"
	"time"

	"github.com/kipass/kipass/protocol/day"
)

// SealKeyInfo tells the operator of one sealing key.
type SealKeyInfo struct {
	Key       string     `json:"key"`
	From      string     `json:"from"`            // the day from which gates are given it
	Until     string     `json:"until,omitempty"` // the day on which the next took or will take its place
	Made      time.Time  `json:"made,omitzero"`
	State     string     `json:"state"`          // one of the constants below
	Held      int        `json:"held,omitempty"` // gates that may still seal to it: they were not heard of with a newer one
	By        []string   `json:"by,omitempty"`   // some of them, as FACILITY/GATE
	Ends      string     `json:"ends,omitempty"` // the day on which it is destroyed
	Destroyed *time.Time `json:"destroyed,omitempty"`
	Entry     uint64     `json:"log,omitempty"` // of the audit log
}

// States of a sealing key.
const (
	SealKeyNext      = "next"      // made, not yet in use
	SealKeyInUse     = "in-use"    // gates are given it
	SealKeyKept      = "kept"      // no longer given to gates, and kept for what was sealed to it
	SealKeyDamaged   = "damaged"   // its file is missing or does not open
	SealKeyDestroyed = "destroyed" // gone, with an entry in the audit log
)

// SealKeys tells of all sealing keys, the oldest first.
func (s *Server) SealKeys(ctx context.Context) ([]SealKeyInfo, error) {
	if err := s.registerSealKeys(ctx); err != nil {
		return nil, err
	}
	s.destroy.Lock()
	defer s.destroy.Unlock()
	uses, err := s.superseded(ctx)
	if err != nil {
		return nil, err
	}
	byDay := map[string]lastUse{}
	for _, u := range uses {
		byDay[u.key.String()] = u
	}
	rows, err := s.store.List(ctx, tableSealKey, "")
	if err != nil {
		return nil, err
	}
	infos := []SealKeyInfo{}
	for i, r := range rows {
		var row SealKeyRow
		if err := json.Unmarshal(r.Value, &row); err != nil {
			s.log.Error("row of a sealing key is damaged", "day", r.Key, "error", err)
		}
		info := SealKeyInfo{Key: row.Key, From: r.Key, Made: row.Made, Destroyed: row.Destroyed, Entry: row.Entry, State: s.sealState(r.Key, row)}
		if i+1 < len(rows) {
			info.Until = rows[i+1].Key
		}
		if u, ok := byDay[r.Key]; ok {
			info.Held, info.By = u.held, u.naming
			if u.held == 0 {
				info.Ends = (u.on + day.RetentionDays + 1).String()
			}
		}
		infos = append(infos, info)
	}
	return infos, nil
}

func (s *Server) sealState(from string, row SealKeyRow) string {
	current, _ := s.seals.offered()
	d, err := day.Parse(from)
	if row.Destroyed != nil {
		return SealKeyDestroyed
	}
	if err == nil {
		_, err = s.seals.ring.Key(d)
	}
	switch {
	case err != nil:
		return SealKeyDamaged
	case d > current.day:
		return SealKeyNext
	case d == current.day:
		return SealKeyInUse
	}
	return SealKeyKept
}

// RotateSealKey takes a new sealing key into use at once.
func (s *Server) RotateSealKey(ctx context.Context) error {
	if err := s.seals.rotate(s.today()); err != nil {
		return err
	}
	current, until := s.seals.offered()
	s.log.Warn("an operator takes another sealing key into use", "key", current.key.ID().String(), "until", until.String())
	return s.registerSealKeys(ctx)
}

func listSealKeys(ctx context.Context, s *Server, _ []string, _ []byte) (any, error) {
	keys, err := s.SealKeys(ctx)
	return result(map[string]any{"keys": keys}, err)
}

func rotateSealKey(ctx context.Context, s *Server, _ []string, _ []byte) (any, error) {
	if err := s.RotateSealKey(ctx); err != nil {
		return nil, err
	}
	current, until := s.seals.offered()
	return map[string]string{"key": current.key.ID().String(), "from": current.day.String(), "until": until.String()}, nil
}
