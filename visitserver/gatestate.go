package visitserver

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/visit"
)

// inFlight is how long a heartbeat may have been on its way: what it says was true by so much before it arrived.
const inFlight = time.Minute

// gapRow is a span of time within which records of a gate are missing; see [order.Gap].
type gapRow struct {
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Missing uint64    `json:"missing,omitempty"`
}

// lack notes that records of a span never came: missing of them, or 0 where nobody knows how many. Spans that touch are
// one, and those whose days are destroyed are forgotten.
func (g *gateRow) lack(from, to time.Time, missing uint64) {
	if from.After(to) { // by a clock that was put back
		from = to
	}
	oldest := day.OldestKept(to).Start()
	kept := slices.DeleteFunc(slices.Clone(g.Gaps), func(gap gapRow) bool { return gap.To.Before(oldest) })
	kept = append(kept, gapRow{From: from, To: to, Missing: missing})
	slices.SortStableFunc(kept, func(a, b gapRow) int { return a.From.Compare(b.From) })
	g.Gaps = kept[:1]
	for _, gap := range kept[1:] {
		last := &g.Gaps[len(g.Gaps)-1]
		if gap.From.After(last.To) && len(g.Gaps) < order.MaxGaps {
			g.Gaps = append(g.Gaps, gap)
			continue
		}
		if last.Missing > 0 && gap.Missing > 0 {
			last.Missing += gap.Missing
		} else {
			last.Missing = 0
		}
		last.To = slices.MaxFunc([]time.Time{last.To, gap.To}, time.Time.Compare)
	}
}

// gateStates tells of a facility's gates how much of their visits in the order's window is here.
func (s *Server) gateStates(ctx context.Context, o order.Order) ([]order.GateState, error) {
	var gates []order.GateState
	prefix := string(o.Facility) + "/"
	err := each(ctx, s, tableTerminal, prefix, func(key string, row TerminalRow) error {
		if row.Enrolled == nil || !row.Added.Before(o.To) {
			return nil // there was no device to read anything
		}
		g, err := s.gateState(ctx, terminalName{o.Facility, visit.Gate(strings.TrimPrefix(key, prefix))}, o)
		gates = append(gates, g)
		return err
	})
	if err != nil {
		return nil, err
	}
	return gates, nil
}

func (s *Server) gateState(ctx context.Context, t terminalName, o order.Order) (order.GateState, error) {
	row, _, err := s.loadGate(ctx, t)
	if err != nil {
		return order.GateState{}, err
	}
	var heartbeat HeartbeatRow
	if _, err := load(ctx, s.store, tableHeartbeat, t.String(), &heartbeat); err != nil {
		return order.GateState{}, err
	}
	alerts, err := s.alertsOf(ctx, t.String()+"/")
	if err != nil {
		return order.GateState{}, err
	}
	g := order.GateState{
		Gate: t.gate, Backlog: row.Backlog,
		Receipt: slices.MaxFunc([]time.Time{row.Received, heartbeat.At}, time.Time.Compare),
	}
	if !row.Delivered.IsZero() {
		g.Delivered = row.deliveredBy()
	}
	for _, gap := range row.Gaps {
		if gap.From.Before(o.To) && !gap.To.Before(o.From) {
			g.Gaps = append(g.Gaps, order.Gap{From: gap.From, To: gap.To, Missing: gap.Missing})
		}
	}
	for _, a := range alerts {
		g.Alerts = append(g.Alerts, a.Alert)
	}
	return g, nil
}

// damagedDays are the days of the order's window of which something was set aside.
func (s *Server) damagedDays(ctx context.Context, o order.Order) ([]string, error) {
	days, err := s.setAside(ctx)
	if err != nil {
		return nil, err
	}
	first, last := day.Of(o.From).String(), day.Of(o.To).String()
	return slices.DeleteFunc(days, func(d string) bool { return cmp.Less(d, first) || cmp.Less(last, d) }), nil
}
