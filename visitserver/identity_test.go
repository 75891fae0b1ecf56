package visitserver

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// thief returns a gate with the certificate of another and a journal of its own, as on a copy of its disk.
func (d *gate) thief() *gate {
	c := *d
	c.client = d.fx.client(&c.cert)
	c.newJournal()
	return &c
}

// Whoever holds a copy of a gate's key and has seen a code can hand it in before the gate itself does: under the name of
// another issuer, or at a time that no order asks about.
func TestARecordHandedInFirstHidesNoVisit(t *testing.T) {
	for rule, forge := range map[string]func(*visit.Visit){
		"under another issuer's name":     func(v *visit.Visit) { v.Issuer = "pass" },
		"hours earlier":                   func(v *visit.Visit) { v.At = v.At.Add(-6 * time.Hour) },
		"on the day before":               func(v *visit.Visit) { v.At = v.At.Add(-24 * time.Hour) },
		"hours earlier, by no sure clock": func(v *visit.Visit) { v.At, v.Clock = v.At.Add(-6*time.Hour), visit.ClockUntrusted },
	} {
		for clock, state := range map[string]visit.ClockState{"synced": visit.ClockSynced, "untrusted": visit.ClockUntrusted} {
			t.Run(rule+", the gate's clock is "+clock, func(t *testing.T) {
				fx := newFixture(t)
				fx.facility("cafe")
				a := newInvestigators(fx)
				g := fx.gate("cafe", "door")
				fx.clock.Add(30 * time.Hour)
				now := fx.clock.Now()
				v := newVisit(now.Add(-time.Minute))
				v.Clock = state
				forged := v
				forge(&forged)
				copied := g.thief()
				copied.journalled(forged)
				copied.deliver()
				g.journalled(v)
				g.deliver()
				answer, refused := inquire(t, fx, a, a.approved(t, a.order(fx, "cafe", now.Add(-time.Hour), now)))
				found := slices.ContainsFunc(answer.Scans, func(s order.Scan) bool {
					return s.Issuer == v.Issuer && s.CTI == v.CTI && s.At.Equal(v.At)
				})
				if refused != "" || !found {
					t.Errorf("the visit is not among %d scans, refused %q", len(answer.Scans), refused)
				}
				stored := fx.stored("cafe")
				for _, d := range []*gate{g, copied} { // the receipts were lost: nothing is stored twice
					d.next, d.prev, d.records = 1, visit.Genesis(d.journal), nil
				}
				copied.newEpoch()
				copied.journalled(forged)
				copied.deliver()
				g.newEpoch()
				g.journalled(v)
				g.deliver()
				if again := fx.stored("cafe"); again != stored {
					t.Errorf("%d visits are stored after retries, %d before", again, stored)
				}
			})
		}
	}
}

func flagsOf(t *testing.T, answer order.VisitAnswer, cti visit.CTI) order.Flags {
	t.Helper()
	for _, s := range answer.Scans {
		if s.CTI == cti {
			return s.Flags
		}
	}
	t.Fatalf("the code is not among %d scans", len(answer.Scans))
	return 0
}

func TestDoubtfulRecordsCarryFlagsIntoTheAnswer(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	fx.facility("club")
	a := newInvestigators(fx)
	cafe, club := fx.gate("cafe", "door"), fx.gate("club", "door")
	at := func(before time.Duration) visit.Visit { return newVisit(noon.Add(-before)) }
	ordinary, late, elsewhere, twice := at(time.Minute), at(time.Hour+time.Second), at(2*time.Minute), at(3*time.Minute)
	cafe.journalled(ordinary, late, elsewhere, twice)
	elsewhere.At = elsewhere.At.Add(10 * time.Second)
	twice.At = twice.At.Add(maxApart + time.Millisecond)
	cafe.journalled(twice)
	cafe.deliver()
	club.journalled(elsewhere)
	club.deliver()
	copied := cafe.thief()
	fresh := at(time.Minute)
	copied.journalled(fresh)
	copied.deliver()
	answer, _ := inquire(t, fx, a, a.approved(t, a.order(fx, "cafe", noon.Add(-2*time.Hour), noon)))
	if len(answer.Scans) != 6 {
		t.Fatalf("%d scans, want 6: one code stands at two times", len(answer.Scans))
	}
	for _, c := range []struct {
		rule string
		v    visit.Visit
		want order.Flags
	}{
		{"an ordinary one", ordinary, 0},
		{"received more than an hour later", late, order.Late},
		{"of a code that another facility has too", elsewhere, order.TwoPlaces},
		{"from a new journal of a known gate", fresh, order.NewJournal},
	} {
		if got := flagsOf(t, answer, c.v.CTI); got != c.want {
			t.Errorf("%s: flags %b, want %b", c.rule, got, c.want)
		}
	}
	for _, s := range answer.Scans {
		if s.CTI == twice.CTI && s.At.Equal(twice.At) != (s.Flags == order.TwoPlaces) {
			t.Errorf("one code at two times: the record at %v has flags %b", s.At, s.Flags)
		}
	}
	answer, _ = inquire(t, fx, a, a.approved(t, a.order(fx, "club", noon.Add(-2*time.Hour), noon)))
	if got := flagsOf(t, answer, elsewhere.CTI); got != order.TwoPlaces {
		t.Errorf("at the other facility: flags %b", got)
	}
}

// scheme is the operator that signs trust lists.
type scheme struct {
	fx   *fixture
	root ed25519.PrivateKey
}

func newScheme(fx *fixture) *scheme {
	s := &scheme{fx: fx, root: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))}
	fx.admin(nil, "trust-root", hex.EncodeToString(s.root.Public().(ed25519.PublicKey)))
	return s
}

func (s *scheme) install(version uint64, issuers ...string) {
	s.fx.t.Helper()
	list := token.TrustList{Version: version, IssuedAt: s.fx.clock.Now(), Expires: s.fx.clock.Now().Add(time.Hour)}
	for _, name := range issuers {
		pub, _, err := ed25519.GenerateKey(rand.Reader)
		testkit.Check(s.fx.t, err)
		key := token.IssuerKey{Issuer: name, Public: pub, NotBefore: noon, NotAfter: noon.Add(time.Hour)}
		list.Issuers = append(list.Issuers, token.Issuer{Name: name, Keys: []token.IssuerKey{key}})
	}
	raw := testkit.Must(token.SignTrustList(s.root, list))(s.fx.t)
	testkit.Check(s.fx.t, s.fx.tryAdmin(nil, AdminRequest{Command: "trust-list", File: raw}))
}

func (d *gate) sendUnder(trust uint64) (wire.Receipt, error) {
	batch := wire.Batch{Segment: d.segment(len(d.records)), Oldest: d.records[0].Seq, Trust: trust}
	return ask[wire.Receipt](d.fx, d.client, wire.PathVisits, wire.TypeBatch, batch, wire.TypeReceipt)
}

func TestAnIssuerThatWasNeverInATrustListIsRefusedAlone(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	s := newScheme(fx)
	s.install(1, "naver", "kakao")
	s.install(2, "naver", "pass")
	fx.restart() // the history is kept
	g := fx.gate("cafe", "door")
	of := func(issuer string) visit.Visit {
		v := newVisit(noon)
		v.Issuer = issuer
		return v
	}
	// kakao was removed while this gate was offline, and pass added.
	g.journalled(of("naver"), of("nobody"), of("kakao"), of("pass"), of("nobody"))
	receipt, err := g.sendUnder(1)
	want := []visit.Refusal{{Seq: 2, Reason: refuseUnknownIssuer}, {Seq: 5, Reason: refuseUnknownIssuer}}
	if err != nil || !slices.Equal(receipt.Settled.Refused, want) || !slices.Contains(receipt.Alerts, AlertUnknownIssuer) {
		t.Fatalf("receipt %+v, %v; want refusals %v and an alert", receipt, err, want)
	}
	if n := fx.stored("cafe"); n != 3 {
		t.Errorf("%d visits are stored, want the rest of the batch", n)
	}
	g.settle(5)

	// This gate knows a newer list than the server, which was restored from a backup: nothing is refused for good.
	g.journalled(of("naver"), of("toss"))
	if _, err := g.sendUnder(3); problem(err) != wire.CodeBusy {
		t.Errorf("under a list that the server has not yet: %v, want it to be asked again later", err)
	}
	s.install(3, "naver", "toss")
	if receipt, err := g.sendUnder(3); err != nil || len(receipt.Settled.Refused) != 0 {
		t.Errorf("once the server has the list: %+v, %v", receipt, err)
	}
}
