package visitserver

import (
	"slices"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// sendKeeping sends all undelivered records of a gate that can still send what follows kept.
func (d *gate) sendKeeping(kept uint64) (wire.Receipt, error) {
	batch := wire.Batch{Segment: d.segment(len(d.records)), Oldest: kept + 1}
	return ask[wire.Receipt](d.fx, d.client, wire.PathVisits, wire.TypeBatch, batch, wire.TypeReceipt)
}

func (d *gate) beat(h wire.Heartbeat) (wire.Receipt, error) {
	h.Version, h.Clock = "1", visit.ClockSynced.String()
	return ask[wire.Receipt](d.fx, d.client, wire.PathHeartbeat, wire.TypeHeartbeat, h, wire.TypeReceipt)
}

// account is what the server holds of the gate's journal.
func (d *gate) account() JournalLedger {
	d.fx.t.Helper()
	journals := d.fx.ledger().Gates[0].Journals
	i := slices.IndexFunc(journals, func(j JournalLedger) bool { return j.Journal == d.journal.String() })
	if i < 0 {
		d.fx.t.Fatal("the ledger holds nothing of the journal")
	}
	return journals[i]
}

func TestAGateThatIsAheadIsAskedToSendAgain(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	for range 4 {
		g.journalled(newVisit(noon))
	}
	g.deliver()
	for range 8 {
		g.journalled(newVisit(noon))
	}
	ahead := *g
	ahead.settle(9) // what another server has acknowledged
	for _, c := range []struct {
		rule string
		ask  func() (wire.Receipt, error)
		want *wire.Resend
	}{
		{"a batch beyond the account, of a gate that keeps all", func() (wire.Receipt, error) { return ahead.sendKeeping(0) },
			&wire.Resend{Journal: g.journal, After: 4}},
		{"one of a gate that keeps less than what lacks", func() (wire.Receipt, error) { return ahead.sendKeeping(7) },
			&wire.Resend{Journal: g.journal, After: 4}},
		{"a heartbeat that tells of more", func() (wire.Receipt, error) {
			return g.beat(wire.Heartbeat{Journal: g.journal, Settled: 9})
		}, &wire.Resend{Journal: g.journal, After: 4}},
		{"a heartbeat of a journal that was never heard of", func() (wire.Receipt, error) {
			return g.beat(wire.Heartbeat{Journal: visit.JournalID{7}, Settled: 1})
		}, &wire.Resend{Journal: visit.JournalID{7}}},
		{"a heartbeat that tells of as much", func() (wire.Receipt, error) {
			return g.beat(wire.Heartbeat{Journal: g.journal, Settled: 4})
		}, nil},
		{"a heartbeat that tells of less", func() (wire.Receipt, error) {
			return g.beat(wire.Heartbeat{Journal: g.journal, Settled: 3})
		}, nil},
		{"a heartbeat without a journal", func() (wire.Receipt, error) { return g.beat(wire.Heartbeat{Settled: 9}) }, nil},
	} {
		r, err := c.ask()
		if err != nil || (r.Resend == nil) != (c.want == nil) || r.Resend != nil && *r.Resend != *c.want {
			t.Errorf("%s: asked for %+v, %v; want %+v", c.rule, r.Resend, err, c.want)
		}
		if r.Settled.Through != 0 || len(r.Alerts) != 0 {
			t.Errorf("%s: settled %+v, alerts %v", c.rule, r.Settled, r.Alerts)
		}
		if j := g.account(); j.Last != 4 || j.Missing != 0 || fx.stored("cafe") != 4 {
			t.Errorf("%s: the account is %+v", c.rule, j)
		}
	}
	g.deliver()
	if j := g.account(); j.Last != 12 || j.Stored != 12 || len(j.Alerts) != 0 {
		t.Errorf("sent again, the account is %+v", j)
	}
}

// A gate that can send nothing earlier is not asked for it: what it has is taken, and what lacks is told.
func TestAGateThatKeepsNothingEarlierIsTakenAtItsWord(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	for range 6 {
		g.journalled(newVisit(noon))
	}
	g.settle(4)
	r, err := g.sendKeeping(4)
	if err != nil || r.Resend != nil || r.Settled.Through != 6 || len(r.Alerts) != 1 || r.Alerts[0] != AlertGap {
		t.Fatalf("%+v, %v", r, err)
	}
	if j := fx.ledger().Gates[0].Journals[0]; j.Stored != 2 || j.Missing != 4 {
		t.Errorf("the account is %+v", j)
	}
}

// A gate tells by itself when its faults change: one that lasts is no reason to ask for more heartbeats.
func TestAFaultThatLastsCostsNoHeartbeats(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	for _, faults := range [][]string{nil, {"reader-lost"}} {
		if r := testkit.Must(g.beat(wire.Heartbeat{Faults: faults}))(t); r.Heartbeat != uint32(heartbeatPeriod/time.Second) {
			t.Errorf("with faults %v a heartbeat is asked for every %d s", faults, r.Heartbeat)
		}
	}
}
