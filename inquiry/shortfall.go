package inquiry

import (
	"fmt"
	"time"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/order"
)

// Shortfall is a reason for which the visit server does not have all visits of the window: the contact list is incomplete.
type Shortfall struct {
	Gate   string `json:"gate,omitempty"` // none: of the whole facility
	Reason string `json:"reason"`         // silent, undelivered, gap or damaged
	// From and To are the span of which visits may be missing, within the window or beyond it.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Missing is how many records are known to be missing; 0: nobody knows.
	Missing uint64 `json:"missing,omitempty"`
}

// Reasons of a shortfall.
const (
	reasonSilent      = "silent"      // the gate has not been heard of since before the window's end
	reasonUndelivered = "undelivered" // it has not said yet that everything of the window is delivered
	reasonGap         = "gap"         // records of it are lost
	reasonDamaged     = "damaged"     // something of the day was damaged at the visit server
)

// Words returns the shortfall in Korean and English.
func (s Shortfall) Words() string {
	span := clockTime(s.From) + " – " + clockTime(s.To)
	switch s.Reason {
	case reasonSilent:
		return fmt.Sprintf("게이트 %s: %s 이후 연락 없음 / gate %[1]s: not heard of since %[2]s", s.Gate, clockTime(s.From))
	case reasonUndelivered:
		return fmt.Sprintf("게이트 %s: 전달되지 않은 기록 %d건 이상, %s / gate %[1]s: at least %[2]d records not delivered, %[3]s", s.Gate, s.Missing, span)
	case reasonGap:
		return fmt.Sprintf("게이트 %s: 잃어버린 기록 (%d건, 0은 모름), %s / gate %[1]s: records lost (%[2]d; 0: not known), %[3]s", s.Gate, s.Missing, span)
	default:
		return fmt.Sprintf("방문 서버의 손상, %s / damage at the visit server, %[1]s", span)
	}
}

func clockTime(t time.Time) string {
	if t.IsZero() {
		return "?"
	}
	return t.In(day.Seoul()).Format("2006-01-02 15:04:05")
}

// Gate is what the visit server knew of a gate of the facility when it answered.
type Gate struct {
	Gate    string    `json:"gate"`
	Receipt time.Time `json:"receipt,omitzero"` // when it last answered the gate; zero: never
	Backlog uint64    `json:"backlog"`          // records not delivered, as the gate last reported
	Alerts  []string  `json:"alerts,omitempty"` // that no operator has acknowledged: the gate may have been copied
}

func gatesOf(a order.VisitAnswer) []Gate {
	gates := []Gate{}
	for _, g := range a.Gates {
		gates = append(gates, Gate{Gate: string(g.Gate), Receipt: g.Receipt, Backlog: g.Backlog, Alerts: g.Alerts})
	}
	return gates
}

// shortfalls are the reasons for which an answer is known not to hold all visits of its order.
func shortfalls(o order.Order, a order.VisitAnswer) (all []Shortfall) {
	for _, g := range a.Gates {
		switch {
		case g.Receipt.Before(o.To):
			all = append(all, Shortfall{Gate: string(g.Gate), Reason: reasonSilent, From: g.Receipt, To: o.To})
		case g.Delivered.Before(o.To):
			all = append(all, Shortfall{
				Gate: string(g.Gate), Reason: reasonUndelivered, From: g.Delivered, To: o.To, Missing: g.Backlog,
			})
		}
		for _, gap := range g.Gaps {
			all = append(all, Shortfall{Gate: string(g.Gate), Reason: reasonGap, From: gap.From, To: gap.To, Missing: gap.Missing})
		}
	}
	for _, text := range a.Damaged {
		if d, err := day.Parse(text); err == nil { // the answer's decoding saw to its form
			all = append(all, Shortfall{Reason: reasonDamaged, From: d.Start().UTC(), To: (d + 1).Start().UTC()})
		}
	}
	return all
}
