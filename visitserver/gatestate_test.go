package visitserver

import (
	"crypto/tls"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

func TestTheAnswerTellsWhatOfEachGateIsMissing(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	fx.facility("club")
	a := newInvestigators(fx)
	caughtUp, behind, silent, torn, replaced, broken := fx.gate("cafe", "a"), fx.gate("cafe", "b"), fx.gate("cafe", "c"),
		fx.gate("cafe", "d"), fx.gate("cafe", "e"), fx.gate("cafe", "f")
	fx.code("cafe", "g") // never enrolled
	fx.gate("club", "a")
	gates := []*gate{caughtUp, behind, silent, torn, replaced, broken}
	for _, g := range gates {
		g.one(0)
		g.left(0)
	}
	fx.clock.Add(time.Hour) // 13:00
	for _, g := range []*gate{torn, broken} {
		g.journalled(newVisit(fx.clock.Now()), newVisit(fx.clock.Now()))
	}
	torn.settle(2)
	torn.deliver()
	broken.records[0].Data = slices.Clone(broken.records[0].Data)
	broken.records[0].Data[0] ^= 1
	broken.deliver()
	replaced = fx.gate("cafe", "e") // a new device, enrolled by an operator
	fx.clock.Add(time.Minute)
	replaced.one(0)
	copied := caughtUp.thief()
	fx.clock.Add(time.Hour)
	for _, g := range []*gate{caughtUp, torn, replaced, broken} {
		g.left(0)
	}
	behind.left(8)
	behind.one(time.Hour)
	fx.clock.Add(inFlight)

	o := a.order(fx, "cafe", noon.Add(30*time.Minute), fx.clock.Now().Add(-inFlight))
	ask := func() map[visit.Gate]order.GateState {
		t.Helper()
		answer, refused := inquire(t, fx, a, a.approved(t, o))
		if refused != "" {
			t.Fatal(refused)
		}
		states := map[visit.Gate]order.GateState{}
		for _, s := range answer.Gates {
			states[s.Gate] = s
		}
		return states
	}
	states := ask()
	if len(states) != len(gates) {
		t.Errorf("%d gates are told of, want those of the facility that were enrolled, %d", len(states), len(gates))
	}
	receipt := fx.clock.Now().Add(-inFlight).UTC()
	for name, want := range map[visit.Gate]struct {
		receipt time.Time
		whole   bool // delivered up to the window's end
		backlog uint64
		gaps    []uint64
		alerts  []string
	}{
		"a": {receipt, true, 0, nil, nil},
		"b": {receipt, false, 7, nil, nil},
		"c": {noon.UTC(), false, 0, nil, nil},
		"d": {receipt, true, 0, []uint64{1}, []string{AlertGap}},
		"e": {receipt, true, 0, []uint64{0}, nil},
		"f": {receipt, true, 0, []uint64{0}, nil},
	} {
		s := states[name]
		var gaps []uint64
		for _, g := range s.Gaps {
			gaps = append(gaps, g.Missing)
		}
		if !s.Receipt.Equal(want.receipt) || s.Delivered.Before(o.To.Add(-inFlight)) == want.whole || s.Backlog != want.backlog ||
			!slices.Equal(gaps, want.gaps) || !slices.Equal(s.Alerts, want.alerts) {
			t.Errorf("gate %s: %+v", name, s)
		}
	}
	if g := states["d"].Gaps[0]; g.From.After(noon.Add(time.Minute)) || g.To.Before(noon.Add(time.Hour)) {
		t.Errorf("the gap of d is from %v to %v", g.From, g.To)
	}
	before := a.order(fx, "cafe", noon.Add(-time.Hour), noon.Add(-time.Minute))
	answer, _ := inquire(t, fx, a, a.approved(t, before))
	if len(answer.Gates) != 0 {
		t.Errorf("before any gate was there: %+v", answer.Gates)
	}

	// A copy says that nothing is left, while the gate that it was copied from is offline.
	o = a.order(fx, "cafe", noon.Add(30*time.Minute), fx.clock.Now())
	copied.left(0)
	fx.clock.Add(10 * time.Minute)
	copied.left(0)
	s := ask()["a"]
	if !s.Delivered.Before(o.To) || !slices.Contains(s.Alerts, AlertNewJournal) {
		t.Errorf("the word of a copy is believed: %+v", s)
	}
	fx.admin(nil, "alert acknowledge", "cafe", "a")
	copied.left(0)
	if s := ask()["a"]; s.Delivered.Before(o.To) || len(s.Alerts) != 0 || len(s.Gaps) != 1 {
		t.Errorf("once an operator has looked into it: %+v", s)
	}
}

// A gate that is revoked was at its door until then: what it had not delivered is lacking all the same.
func TestARevokedGateIsToldInTheAnswer(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	a := newInvestigators(fx)
	g := fx.gate("cafe", "door")
	g.one(0)
	g.left(3)
	fx.clock.Add(time.Hour)
	fx.admin(nil, "terminal revoke", "cafe", "door")
	answer, refused := inquire(t, fx, a, a.approved(t, a.order(fx, "cafe", noon.Add(-time.Hour), fx.clock.Now())))
	if refused != "" || len(answer.Scans) != 1 || len(answer.Gates) != 1 {
		t.Fatalf("refused %q, %d scans, gates %+v", refused, len(answer.Scans), answer.Gates)
	}
	if s := answer.Gates[0]; s.Gate != "door" || s.Backlog != 3 || !s.Receipt.Equal(noon) {
		t.Errorf("told is %+v", s)
	}
}

func TestADamagedDayIsToldInTheAnswerBesideWhatIsLeft(t *testing.T) {
	fx := newDamagedFixture(t)
	testkit.Check(t, os.WriteFile(fx.keyPath(), []byte("damaged"), 0o600))
	fx.start()
	a := newInvestigators(fx.fixture)
	ask := func(rule string, to time.Time, scans int, damaged ...string) {
		t.Helper()
		answer, refused := inquire(t, fx.fixture, a, a.approved(t, a.order(fx.fixture, "cafe", noon.Add(-48*time.Hour), to)))
		if refused != "" || len(answer.Scans) != scans || !slices.Equal(answer.Damaged, damaged) {
			t.Errorf("%s: %d scans, damaged %v, refused %q", rule, len(answer.Scans), answer.Damaged, refused)
		}
	}
	ask("a window of other days", noon.Add(-20*time.Hour), 1)
	ask("a window that touches the day", noon.Add(24*time.Hour), 2, fx.day.String())
	fx.scan()
	ask("once the day is written to again", noon.Add(24*time.Hour), 5, fx.day.String())
}

// A day that is damaged, or has lost visits, holds up no inquiry and no count: what can be read of it is told, and that some
// may be missing.
func TestADamagedDatabaseIsToldInTheAnswer(t *testing.T) {
	for rule, c := range map[string]struct {
		damage func(t *testing.T, fx *damagedFixture, dir string)
		left   int // of the visit of that day and those of two others
	}{
		"its manifest is empty": {func(t *testing.T, _ *damagedFixture, dir string) { empty(t, dir, "MANIFEST-") }, 3},
		"its log is empty":      {func(t *testing.T, _ *damagedFixture, dir string) { empty(t, dir, ".log") }, 2},
		"it is gone":            {func(t *testing.T, _ *damagedFixture, dir string) { testkit.Check(t, os.RemoveAll(dir)) }, 2},
	} {
		t.Run(rule, func(t *testing.T) {
			fx := newDamagedFixture(t)
			c.damage(t, fx, fx.folder.path("visits", "days", fx.day.String()))
			fx.start()
			fx.toldAsDamaged(t, c.left)
			token := managerToken(fx.fixture, "cafe")
			status, counts := readCounts(t, fx.fixture, "cafe", token, fx.day.String())
			if status != http.StatusOK || !counts.Damaged || int(counts.Total) != c.left-2 {
				t.Errorf("counts are answered %d, %+v", status, counts)
			}
			if _, counts = readCounts(t, fx.fixture, "cafe", token, (fx.day + 1).String()); counts.Damaged || counts.Total != 1 {
				t.Errorf("the next day's counts are %+v", counts)
			}
		})
	}
	t.Run("its key is gone", func(t *testing.T) {
		fx := newDamagedFixture(t)
		testkit.Check(t, os.Remove(fx.keyPath()))
		fx.start()
		fx.toldAsDamaged(t, 2)
	})
}

// toldAsDamaged has an order over all three days answered.
func (fx *damagedFixture) toldAsDamaged(t *testing.T, scans int) {
	t.Helper()
	a := newInvestigators(fx.fixture)
	o := a.order(fx.fixture, "cafe", noon.Add(-48*time.Hour), noon.Add(24*time.Hour))
	answer, refused := inquire(t, fx.fixture, a, a.approved(t, o))
	if refused != "" || len(answer.Scans) != scans || !slices.Equal(answer.Damaged, []string{fx.day.String()}) {
		t.Errorf("%d scans, damaged %v, refused %q", len(answer.Scans), answer.Damaged, refused)
	}
}

func TestGapsAreBoundedAndForgottenWithTheirDays(t *testing.T) {
	var g gateRow
	at := func(hours int) time.Time { return noon.Add(time.Duration(hours) * time.Hour) }
	for i := range 3 * order.MaxGaps {
		g.lack(at(2*i), at(2*i+1), 1)
	}
	var missing uint64
	for _, gap := range g.Gaps {
		missing += gap.Missing
	}
	if len(g.Gaps) != order.MaxGaps || missing != 3*order.MaxGaps || !g.Gaps[len(g.Gaps)-1].To.Equal(at(2*3*order.MaxGaps-1)) {
		t.Errorf("%d gaps of %d records to %v", len(g.Gaps), missing, g.Gaps[len(g.Gaps)-1].To)
	}
	g = gateRow{}
	g.lack(at(0), at(2), 3)
	g.lack(at(1), at(3), 2)
	g.lack(at(9), at(8), 1)
	want := []gapRow{{From: at(0), To: at(3), Missing: 5}, {From: at(8), To: at(8), Missing: 1}}
	if !slices.Equal(g.Gaps, want) {
		t.Errorf("gaps %+v, want %+v", g.Gaps, want)
	}
	if g.lack(at(40*24), at(40*24), 0); len(g.Gaps) != 1 {
		t.Errorf("40 days later: %+v", g.Gaps)
	}
}

// A handshake that somebody on the way has shortened is seen here too, whatever the gate says.
func TestTheLedgerTellsByWhichKeyExchangeAGateComes(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	for _, by := range []tls.CurveID{tls.X25519MLKEM768, tls.X25519} {
		transport := g.client.Transport.(*http.Transport).Clone()
		transport.TLSClientConfig.CurvePreferences = []tls.CurveID{by}
		g.client.CloseIdleConnections()
		g.client = &http.Client{Transport: transport}
		testkit.Must(g.beat(wire.Heartbeat{}))(t)
		if got := fx.ledger().Gates[0].Heartbeat.KeyExchange; got != by.String() {
			t.Errorf("the ledger tells of %s, want %v", got, by)
		}
	}
	g.client.CloseIdleConnections()
}
