package inquiry

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/order"
)

func TestWhatTheVisitServerLacksMarksTheList(t *testing.T) {
	late := 10 * time.Minute
	whole := order.GateState{Gate: "door-1", Receipt: now.Add(late), Delivered: now.Add(late)}
	gate := func(change func(*order.GateState)) *order.GateState {
		g := whole
		change(&g)
		return &g
	}
	for rule, tt := range map[string]struct {
		gate    *order.GateState
		damaged []string
		want    []string // reasons
	}{
		"all is delivered":         {gate: &whole},
		"up to the window's end":   {gate: gate(func(g *order.GateState) { g.Receipt, g.Delivered = now, now })},
		"a backlog of later scans": {gate: gate(func(g *order.GateState) { g.Backlog = 9 })},
		"last heard of before it":  {gate: gate(func(g *order.GateState) { g.Receipt, g.Delivered = now.Add(-time.Second), now.Add(-time.Second) }), want: []string{reasonSilent}},
		"never heard of":           {gate: gate(func(g *order.GateState) { g.Receipt, g.Delivered = time.Time{}, time.Time{} }), want: []string{reasonSilent}},
		"heard of, with a backlog": {gate: gate(func(g *order.GateState) { g.Delivered, g.Backlog = now.Add(-time.Hour), 9 }), want: []string{reasonUndelivered}},
		"it never said to be done": {gate: gate(func(g *order.GateState) { g.Delivered = time.Time{} }), want: []string{reasonUndelivered}},
		"a gap":                    {gate: gate(func(g *order.GateState) { g.Gaps = []order.Gap{{From: now.Add(-time.Hour), To: now, Missing: 2}} }), want: []string{reasonGap}},
		"a gap and a backlog":      {gate: gate(func(g *order.GateState) { g.Gaps, g.Delivered = []order.Gap{{To: now}}, now.Add(-1) }), want: []string{reasonUndelivered, reasonGap}},
		"alerts lack nothing":      {gate: gate(func(g *order.GateState) { g.Alerts = []string{"new-journal"} })},
		"a damaged day":            {gate: &whole, damaged: []string{"2020-07-10"}, want: []string{reasonDamaged}},
	} {
		t.Run(rule, func(t *testing.T) {
			f := newFixture(t)
			visits := f.visitsParty(t, func(a *order.VisitAnswer) {
				a.Gates, a.Damaged = []order.GateState{*tt.gate}, tt.damaged
			}, numbered(1))
			s, err := f.Run(t.Context(), f.approved, config(visits, f.issuerParty(t, nil)))
			if errors.Is(err, ErrPartial) != (tt.want != nil) || !errors.Is(err, ErrPartial) && err != nil {
				t.Fatalf("Run: %v", err)
			}
			var reasons []string
			for _, s := range s.Shortfalls {
				reasons = append(reasons, s.Reason)
				if !strings.Contains(s.Words(), " / ") {
					t.Errorf("%q is not in two languages", s.Words())
				}
			}
			if !slices.Equal(reasons, tt.want) || s.Complete != (tt.want == nil) || s.Contacts != 1 || len(s.Gates) != 1 {
				t.Errorf("reasons %v, want %v; %+v", reasons, tt.want, s)
			}
			list := testkit.Must(f.Contacts(f.order.ID))(t)
			if list.Complete != s.Complete || !slices.Equal(list.Shortfalls, s.Shortfalls) || len(list.Warnings()) != len(tt.want)+len(tt.gate.Alerts) {
				t.Errorf("the list says complete %v, %+v, %q", list.Complete, list.Shortfalls, list.Warnings())
			}
			key := testkit.Must(AuditKey(f.dir))(t)
			log := testkit.Must(auditlog.VerifyDir(f.dir+"/"+auditDir, key))(t)
			i := slices.IndexFunc(log.Entries, func(e auditlog.Entry) bool { return e.Kind == auditlog.KindContacts })
			if marked := log.Entries[i].Note == "incomplete"; marked != (tt.want != nil) {
				t.Errorf("the log notes %q", log.Entries[i].Note)
			}
		})
	}
}

func TestAnAnswerThatTellsOfOneGateTwiceIsNotBelieved(t *testing.T) {
	f := newFixture(t)
	visits := f.visitsParty(t, func(a *order.VisitAnswer) { a.Gates = []order.GateState{{Gate: "door-1"}, {Gate: "door-1"}} })
	if _, err := f.Run(t.Context(), f.approved, config(visits, Endpoint{})); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("Run = %v", err)
	}
}
