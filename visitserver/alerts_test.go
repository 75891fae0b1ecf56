package visitserver

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// one delivers a visit of so long ago and returns the alerts that the receipt tells of.
func (d *gate) one(before time.Duration) []string {
	d.fx.t.Helper()
	d.journalled(newVisit(d.fx.clock.Now().Add(-before)))
	return d.deliver().Alerts
}

// left reports in a heartbeat how much is left to deliver.
func (d *gate) left(backlog uint64) {
	d.fx.t.Helper()
	_, err := d.beat(wire.Heartbeat{Journal: d.journal, Backlog: backlog})
	testkit.Check(d.fx.t, err)
}

func TestAlertsOfCopiedGates(t *testing.T) {
	for rule, c := range map[string]struct {
		happens func(fx *fixture, g *gate) (alerts []string)
		want    []string
	}{
		"a gate's first journal": {func(_ *fixture, g *gate) []string { return g.one(0) }, nil},
		"and its next batch":     {func(_ *fixture, g *gate) []string { g.one(0); return g.one(0) }, nil},
		"a second journal": {func(_ *fixture, g *gate) []string {
			g.one(0)
			g.newJournal()
			return g.one(0)
		}, []string{AlertNewJournal}},
		"a second journal of a device enrolled anew": {func(fx *fixture, g *gate) []string {
			g.one(0)
			fx.clock.Add(time.Minute)
			return fx.gate(g.facility, g.name).one(0)
		}, nil},
		"a third one, for which nobody enrolled it": {func(fx *fixture, g *gate) []string {
			g.one(0)
			fx.clock.Add(time.Minute)
			again := fx.gate(g.facility, g.name)
			fx.clock.Add(time.Minute)
			again.one(0)
			again.newJournal()
			return again.one(0)
		}, []string{AlertNewJournal}},
		"two journals at once": {func(_ *fixture, g *gate) []string {
			g.one(0)
			g.thief().one(0)
			return g.one(0)
		}, []string{AlertParallel}},
		"a retry of what came before the second journal": {func(_ *fixture, g *gate) []string {
			g.journalled(newVisit(noon))
			if _, err := g.send(g.segment(1)); err != nil {
				return []string{err.Error()}
			}
			g.thief().one(0)
			return g.deliver().Alerts
		}, nil},
		"old visits after an outage": {func(fx *fixture, g *gate) []string {
			g.left(0)
			fx.clock.Add(10 * time.Hour)
			g.left(1)
			return g.one(9 * time.Hour)
		}, nil},
		"old visits of a gate that had delivered all": {func(fx *fixture, g *gate) []string {
			fx.clock.Add(10 * time.Hour)
			g.left(0)
			return g.one(9 * time.Hour)
		}, []string{AlertLate}},
		"old visits by a clock that the gate did not trust": {func(fx *fixture, g *gate) []string {
			fx.clock.Add(10 * time.Hour)
			g.left(0)
			v := newVisit(fx.clock.Now().Add(-9 * time.Hour))
			v.Clock = visit.ClockUntrusted
			g.journalled(v)
			return g.deliver().Alerts
		}, nil},
		"old visits of a server that was restored": {func(fx *fixture, g *gate) []string {
			fx.clock.Add(10 * time.Hour)
			_, err := g.beat(wire.Heartbeat{Journal: g.journal, Settled: 1}) // which the server lacks
			testkit.Check(fx.t, err)
			return g.one(9 * time.Hour)
		}, nil},
		"visits as old as clocks may differ": {func(_ *fixture, g *gate) []string {
			g.left(0)
			return g.one(clockSlack)
		}, nil},
	} {
		t.Run(rule, func(t *testing.T) {
			fx := newFixture(t)
			fx.facility("cafe")
			g := fx.gate("cafe", "door")
			got := c.happens(fx, g)
			if !slices.Equal(got, c.want) {
				t.Errorf("alerts %v, want %v", got, c.want)
			}
			var seen struct{ Alerts []Alert }
			fx.admin(&seen, "alert list")
			for _, alert := range c.want {
				is := func(a Alert) bool { return a.Facility == "cafe" && a.Gate == "door" && a.Alert == alert && a.Count > 0 }
				if !slices.ContainsFunc(seen.Alerts, is) || !slices.ContainsFunc(fx.ledger().Gates[0].Alerts, is) {
					t.Errorf("the operator sees %+v and in the ledger %+v", seen.Alerts, fx.ledger().Gates[0].Alerts)
				}
				if fx.log.Count("alert="+alert) == 0 {
					t.Errorf("the log says nothing of %s", alert)
				}
			}
			if len(c.want) == 0 && rule != "a retry of what came before the second journal" && len(seen.Alerts) != 0 {
				t.Errorf("alerts %+v, want none", seen.Alerts)
			}
		})
	}
}

func TestAnOperatorEndsAlertsAndIsLogged(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	a := newInvestigators(fx)
	g := fx.gate("cafe", "door")
	g.one(0)
	fx.clock.Add(time.Minute)
	g.newJournal()
	doubted := newVisit(fx.clock.Now())
	g.journalled(doubted)
	g.deliver()
	flags := func(cti visit.CTI) order.Flags {
		t.Helper()
		answer, _ := inquire(t, fx, a, a.approved(t, a.order(fx, "cafe", noon, noon.Add(5*time.Minute))))
		return flagsOf(t, answer, cti)
	}
	fx.clock.Add(time.Minute)
	fx.restart()
	if got := flags(doubted.CTI); got != order.NewJournal {
		t.Errorf("before: flags %b", got)
	}
	var done struct{ Acknowledged []Alert }
	fx.admin(&done, "alert acknowledge", "cafe", "door")
	if len(done.Acknowledged) != 1 || done.Acknowledged[0].Alert != AlertNewJournal {
		t.Errorf("acknowledged %+v", done.Acknowledged)
	}
	if got := flags(doubted.CTI); got != 0 {
		t.Errorf("after: flags %b", got)
	}
	if alerts := fx.ledger().Gates[0].Alerts; len(alerts) != 0 {
		t.Errorf("the ledger still tells of %+v", alerts)
	}
	if err := fx.tryAdmin(nil, AdminRequest{Command: "alert acknowledge", Args: []string{"cafe", "door"}}); err == nil {
		t.Error("acknowledged twice")
	}
	entries := auditEntries(t, fx.folder)
	e := entries[slices.IndexFunc(entries, func(e auditlog.Entry) bool { return e.Kind == auditlog.KindAcknowledged })]
	if e.Facility != "cafe" || e.Gate != "door" || !slices.Equal(e.Alerts, []string{AlertNewJournal}) || e.Count != 1 {
		t.Errorf("the audit log says %+v", e)
	}
	g.thief().one(0)
	if alerts := fx.ledger().Gates[0].Alerts; len(alerts) != 1 {
		t.Errorf("the next copy: %+v", alerts)
	}
}

// Nor does it with records: those of further journals wait until an operator has looked, while the gate itself goes on.
func TestJournalsOfCopiesFillNoRegister(t *testing.T) {
	for rule, first := range map[string]func(copied *gate){
		"records alone":                      func(*gate) {},
		"a heartbeat of each journal before": func(copied *gate) { copied.left(1) },
	} {
		t.Run(rule, func(t *testing.T) {
			fx := newFixture(t)
			fx.facility("cafe")
			g := fx.gate("cafe", "door")
			g.one(0)
			copied := g.thief()
			try := func(want string) {
				t.Helper()
				copied.newJournal()
				first(copied)
				copied.journalled(newVisit(noon))
				if _, err := copied.send(copied.segment(1)); problem(err) != want || (err == nil) != (want == "") {
					t.Fatalf("the journal is answered %v, want %q", err, want)
				}
			}
			for range maxDoubted {
				try("")
			}
			for range 3 {
				try(wire.CodeBusy)
			}
			g.one(0)
			l := fx.ledger().Gates[0]
			if n := len(l.Journals); n != 1+maxDoubted {
				t.Errorf("%d journals in the register", n)
			}
			counts := map[string]uint64{}
			for _, a := range l.Alerts {
				counts[a.Alert] = a.Count
			}
			if counts[AlertNewJournal] < maxDoubted+3 {
				t.Errorf("alerts %v", counts)
			}
			fx.admin(nil, "alert acknowledge", "cafe", "door")
			try("")
			fx.clock.Add(time.Minute)
			fx.gate("cafe", "door").one(0)
		})
	}
}

// A journal of which nothing is kept any more is forgotten, but not the one in use, however long it was not heard of.
func TestJournalsEndWithTheirVisits(t *testing.T) {
	fx := newWitnessed(t)
	g := fx.gates[0]
	first := g.journal.String()
	g.newJournal()
	g.one(0)
	second := g.journal.String()
	journals := func(rule string, want ...string) {
		t.Helper()
		var got []string
		for _, j := range fx.ledger().Gates[0].Journals {
			got = append(got, j.Journal)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: journals %v, want %v", rule, got, want)
		}
	}
	journals("at first", first, second)
	days := day.Of(noon.Add(maxFuture)).DestroyAt().Sub(noon)
	fx.pass(days - time.Hour)
	g.newJournal()
	g.one(0)
	third := g.journal.String()
	journals("before their end", first, second, third)
	fx.pass(time.Hour)
	g.newJournal()
	g.one(0)
	journals("at their end", third, g.journal.String())
	fx.pass(2 * days)
	fourth := g.journal.String()
	g.newJournal()
	g.one(0)
	journals("the one in use, at its end", fourth, g.journal.String())
}

func TestMetricsTellOfAlerts(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	g.one(0)
	g.thief().one(0)
	metrics := func() string {
		t.Helper()
		client := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				return net.Dial("unix", fx.folder.Socket())
			},
		}}
		resp := testkit.Must(client.Get("http://visits/metrics"))(t)
		defer resp.Body.Close()
		return string(testkit.Must(io.ReadAll(resp.Body))(t))
	}
	for _, want := range []string{`kipass_visits_alerts{alert="new-journal"} 1`, `kipass_visits_alerts{alert="gap"} 0`} {
		if got := metrics(); !strings.Contains(got, want+"\n") {
			t.Errorf("metrics are\n%swant %s", got, want)
		}
	}
	fx.admin(nil, "alert acknowledge", "cafe", "door")
	if got := metrics(); strings.Contains(got, "} 1") {
		t.Errorf("after the acknowledgement:\n%s", got)
	}
}

// A copy may come with as many journals as it likes: the register holds only those of which records were taken.
func TestHeartbeatsOfInventedJournalsFillNoRegister(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	g.one(0)
	copied := g.thief()
	for range 100 {
		copied.newJournal()
		copied.left(0)
	}
	l := fx.ledger().Gates[0]
	if len(l.Journals) != 1 || len(l.Alerts) != 1 || l.Alerts[0].Count != 100 {
		t.Errorf("%d journals, alerts %+v", len(l.Journals), l.Alerts)
	}
	copied.one(0)
	if j := copied.account(); !j.Doubtful {
		t.Errorf("the copy's journal, once it delivers: %+v", j)
	}
}
