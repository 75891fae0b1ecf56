package order

import (
	"fmt"
	"time"

	"github.com/kipass/kipass/protocol/visit"
)

// Limits of what an answer tells of gates.
const (
	MaxGates  = 4096 // gates of one facility
	MaxGaps   = 64   // gaps of one gate
	maxAlerts = 16   // alerts of one gate
	maxAlert  = 32   // bytes of an alert's code
)

// GateState is what the visit server knows of how much of a gate's visits it has. Times are whole milliseconds; a zero time
// stands for never.
type GateState struct {
	Gate      visit.Gate
	Receipt   time.Time // when the server last answered the gate
	Delivered time.Time // by its own word the gate had delivered by then whatever it had read before
	Backlog   uint64    // records that it had not delivered when it last said so
	Gaps      []Gap     // in which records are missing that were read and never came, ascending, within the window
	Alerts    []string  // codes of alerts that no operator has acknowledged, see wire/SPEC.md
}

// Gap is a span of time within which records of a gate are missing.
type Gap struct {
	From, To time.Time
	Missing  uint64 // records; 0: nobody knows how many
}

type wireGate struct {
	_         struct{} `cbor:",toarray"`
	Gate      string
	Receipt   int64
	Delivered int64
	Backlog   uint64
	Gaps      []wireGap
	Alerts    []string
}

type wireGap struct {
	_        struct{} `cbor:",toarray"`
	From, To int64
	Missing  uint64
}

// millis is t in milliseconds since 1970, 0 for a zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// fromMillis is the inverse of millis.
func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func encodeGates(gates []GateState) []wireGate {
	out := make([]wireGate, 0, len(gates))
	for _, g := range gates {
		w := wireGate{
			Gate: string(g.Gate), Receipt: millis(g.Receipt), Delivered: millis(g.Delivered), Backlog: g.Backlog,
			Gaps: make([]wireGap, 0, len(g.Gaps)), Alerts: append([]string{}, g.Alerts...),
		}
		for _, gap := range g.Gaps {
			w.Gaps = append(w.Gaps, wireGap{From: millis(gap.From), To: millis(gap.To), Missing: gap.Missing})
		}
		out = append(out, w)
	}
	return out
}

func decodeGates(gates []wireGate) []GateState {
	out := make([]GateState, 0, len(gates))
	for _, w := range gates {
		g := GateState{
			Gate: visit.Gate(w.Gate), Receipt: fromMillis(w.Receipt), Delivered: fromMillis(w.Delivered), Backlog: w.Backlog,
			Alerts: w.Alerts,
		}
		for _, gap := range w.Gaps {
			g.Gaps = append(g.Gaps, Gap{From: fromMillis(gap.From), To: fromMillis(gap.To), Missing: gap.Missing})
		}
		out = append(out, g)
	}
	return out
}

func checkGates(gates []wireGate) error {
	if len(gates) > MaxGates {
		return fmt.Errorf("%w: %d gates, at most %d", ErrMessage, len(gates), MaxGates)
	}
	for i, g := range gates {
		if _, err := visit.ParseGate(g.Gate); err != nil {
			return fmt.Errorf("%w: gate %d: %v", ErrMessage, i, err)
		}
		if len(g.Gaps) > MaxGaps || len(g.Alerts) > maxAlerts {
			return fmt.Errorf("%w: gate %d: %d gaps and %d alerts, at most %d and %d", ErrMessage, i, len(g.Gaps), len(g.Alerts), MaxGaps, maxAlerts)
		}
		for _, ms := range []int64{g.Receipt, g.Delivered} {
			if ms < 0 || ms > maxTime*1000 {
				return fmt.Errorf("%w: gate %d: time %d is out of range", ErrMessage, i, ms)
			}
		}
		for _, gap := range g.Gaps {
			if gap.From < 0 || gap.To < gap.From || gap.To > maxTime*1000 {
				return fmt.Errorf("%w: gate %d: a gap from %d to %d", ErrMessage, i, gap.From, gap.To)
			}
		}
		for _, a := range g.Alerts {
			if _, err := visit.ParseGate(a); err != nil || len(a) > maxAlert { // the rule of places' names
				return fmt.Errorf("%w: gate %d: an alert is not 1 to %d of a-z, 0-9 and '-'", ErrMessage, i, maxAlert)
			}
		}
	}
	return nil
}

// checkDays checks days as they are written, 2006-01-02.
func checkDays(days []string) error {
	for i, d := range days {
		if _, err := time.Parse(time.DateOnly, d); err != nil {
			return fmt.Errorf("%w: damaged day %d is not of the form 2006-01-02", ErrMessage, i)
		}
	}
	return nil
}
