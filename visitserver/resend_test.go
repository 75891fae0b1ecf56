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

// says is the heartbeat of a gate that has seen its records up to through settled, and that one record of them is still its.
func (d gate) says(through uint64) wire.Heartbeat {
	d.settle(through)
	return wire.Heartbeat{Journal: d.journal, Settled: through, Chain: d.prev, Backlog: uint64(len(d.records))}
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
	whole := *g
	g.deliver()
	for range 8 {
		g.journalled(newVisit(noon))
	}
	whole.records = slices.Concat(whole.records, g.records)
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
			return g.beat(whole.says(9))
		}, &wire.Resend{Journal: g.journal, After: 4}},
		{"a heartbeat of a journal that was never heard of", func() (wire.Receipt, error) {
			return g.beat(wire.Heartbeat{Journal: visit.JournalID{7}, Settled: 1})
		}, &wire.Resend{Journal: visit.JournalID{7}}},
		{"a heartbeat that tells of as much", func() (wire.Receipt, error) {
			return g.beat(whole.says(4))
		}, nil},
		{"a heartbeat that tells of less", func() (wire.Receipt, error) {
			return g.beat(whole.says(3))
		}, nil},
		{"a heartbeat that tells of as much, and of others", func() (wire.Receipt, error) {
			h := whole.says(4)
			h.Chain, h.Backlog = visit.Chain{1}, 0
			return g.beat(h)
		}, &wire.Resend{Journal: g.journal}},
		{"a heartbeat that tells of less, of a gate that has no more", func() (wire.Receipt, error) {
			h := whole.says(3)
			h.Backlog = 0
			return g.beat(h)
		}, &wire.Resend{Journal: g.journal}},
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

// sendAgain hands over all that the gate is asked for with its heartbeats, until it is asked for nothing, of records up to through.
// It still keeps those after kept.
func (d gate) sendAgain(t *testing.T, kept, through uint64) {
	t.Helper()
	for range 4 {
		r, err := d.beat(d.says(through))
		testkit.Check(t, err)
		if r.Resend == nil {
			return
		}
		part := d
		if part.settle(max(r.Resend.After, kept)); len(part.records) == 0 {
			return
		}
		if r, err = part.sendKeeping(kept); err != nil || r.Settled.Through != through {
			t.Fatalf("settled are %+v, %v", r.Settled, err)
		}
	}
	t.Error("the gate is asked again and again")
}

// There are two devices with one journal: a gate and its copy. The server, which was restored from a backup, holds less of what
// the gate has delivered than the gate has seen settled, whatever it holds of the copy's.
func TestARestoredServerGetsBackWhatAGateWithACopyDelivered(t *testing.T) {
	const copied = 4 // records
	for _, c := range []struct {
		rule       string
		copy       int    // records that the copy has delivered
		held, lost int    // records of the gate since: in the backup, and not
		kept       uint64 // the gate keeps what follows
		missing    uint64 // records that do not come back
	}{
		{"the copy is ahead of the gate", 6, 3, 2, 0, 0},
		{"as far as the gate", 6, 3, 3, 0, 0},
		{"behind it", 2, 1, 5, 0, 0},
		{"nothing was heard of the gate since", 6, 0, 2, 0, 0},
		{"nothing was heard of the gate since, which is ahead", 2, 0, 5, 0, 0},
		{"the gate no longer keeps all", 6, 3, 2, copied, 0},
		{"it keeps nothing that the copy has too", 6, 1, 3, copied + 1, 0},
		{"it no longer keeps all that lacks", 6, 1, 3, copied + 2, 1},
	} {
		t.Run(c.rule, func(t *testing.T) {
			fx := newFixture(t)
			fx.facility("cafe")
			a := newInvestigators(fx)
			whole := fx.gate("cafe", "door")
			fx.clock.Add(time.Hour)
			add := func(g *gate, n int) {
				for range n {
					g.journalled(newVisit(fx.clock.Now()))
				}
			}
			add(whole, copied)
			g := *whole
			g.deliver()
			thief := g
			thief.newEpoch()
			add(&thief, c.copy)
			thief.deliver()
			if add(whole, c.held); c.held > 0 {
				g = *whole
				g.settle(copied)
				testkit.Must(g.sendKeeping(0))(t)
				whole.sendAgain(t, 0, g.next-1)
			}
			add(whole, c.lost)
			whole.sendAgain(t, c.kept, whole.next-1)

			want := uint64(copied+c.copy+c.held+c.lost) - c.missing
			if n := fx.stored("cafe"); n != want {
				t.Errorf("%d visits are stored, want %d", n, want)
			}
			answer, refused := inquire(t, fx, a, a.approved(t, a.order(fx, "cafe", noon, fx.clock.Now())))
			if refused != "" || len(answer.Gates) != 1 {
				t.Fatalf("refused %q, gates %+v", refused, answer.Gates)
			}
			if gaps := answer.Gates[0].Gaps; (len(gaps) > 0) != (c.missing > 0) {
				t.Errorf("told are the gaps %+v", gaps)
			}
		})
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
