package visitserver

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/guard"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

// witnessed is a server with a visit of noon, two gates, and clocks that go apart.
type witnessed struct {
	*fixture
	gates [2]*gate
	ran   atomic.Int64 // nanoseconds
}

func newWitnessed(t *testing.T) *witnessed {
	fx := &witnessed{fixture: newFixture(t)}
	fx.stop()
	fx.elapsed = func() time.Duration { return time.Duration(fx.ran.Load()) }
	fx.start()
	fx.facility("cafe")
	fx.facility("club")
	fx.gates = [2]*gate{fx.gate("cafe", "door"), fx.gate("club", "door")}
	fx.visit(noon, "naver", "kakao")
	return fx
}

// visit has a visit of at from each gate arrive, under codes of these issuers. A server whose clock is in doubt may put it off.
func (fx *witnessed) visit(at time.Time, issuers ...string) {
	fx.t.Helper()
	for i, g := range fx.gates {
		v := newVisit(at)
		v.Issuer = issuers[i]
		g.journalled(v)
		_, _ = g.send(g.segment(len(g.records)))
	}
}

func (fx *witnessed) pass(d time.Duration) { fx.clock.Add(d); fx.ran.Add(int64(d)) }

func (fx *witnessed) kept(rule string, want bool) {
	fx.t.Helper()
	fx.wake <- fx.clock.Now()
	fx.wake <- fx.clock.Now()
	key := filepath.Join(fx.folder.Dir, "keys", "days", day.Of(noon).String()+".key")
	if got := exists(fx.t.(*testing.T), key); got != want {
		fx.t.Errorf("%s: kept %v, want %v", rule, got, want)
	}
}

// TestVisitsBearWitnessOfTheTime: what two gates read of two issuers confirms a clock that is right, and contradicts one
// that is not, in both directions.
func TestVisitsBearWitnessOfTheTime(t *testing.T) {
	end := day.Of(noon).DestroyAt()
	t.Run("a server that was off destroys at once what fell due", func(t *testing.T) {
		fx := newWitnessed(t)
		fx.clock.Set(end.Add(time.Hour))
		fx.restart()
		fx.kept("as it starts", true)
		fx.visit(fx.clock.Now(), "naver", "naver")
		fx.kept("one issuer's word", true)
		fx.visit(fx.clock.Now(), "naver", "kakao")
		fx.kept("two issuers' word", false)
	})
	t.Run("a jump that visits contradict never destroys", func(t *testing.T) {
		fx := newWitnessed(t)
		ahead := end.Add(time.Hour).Sub(fx.clock.Now())
		fx.clock.Add(ahead)
		for range 9 {
			fx.pass(guard.Proof / 3)
			fx.visit(fx.clock.Now().Add(-ahead), "naver", "kakao")
			fx.kept("while visits come", true)
		}
	})
	t.Run("a clock set back does not keep days that visits say are over", func(t *testing.T) {
		fx := newWitnessed(t)
		fx.pass(end.Sub(noon) - time.Hour)
		fx.kept("in time", true)
		fx.clock.Add(-20 * 24 * time.Hour)
		fx.pass(2 * time.Hour)
		fx.kept("by the wall clock", true)
		if h := fx.ledger().HeldBack; h == nil || h.Days[0] != day.Of(noon).String() {
			t.Errorf("the ledger does not tell: %+v", h)
		}
		fx.visit(fx.clock.Now().Add(20*24*time.Hour), "naver", "kakao")
		fx.kept("two issuers' word", false)
	})
	t.Run("codes read by a clock that was not trusted bear no witness", func(t *testing.T) {
		fx := newWitnessed(t)
		fx.clock.Set(end.Add(time.Hour))
		fx.restart()
		for i, issuer := range []string{"naver", "kakao"} {
			v := newVisit(fx.clock.Now())
			v.Issuer, v.Clock = issuer, visit.ClockUntrusted
			fx.gates[i].journalled(v)
			_, _ = fx.gates[i].send(fx.gates[i].segment(len(fx.gates[i].records)))
		}
		fx.kept("untrusted", true)
	})
}

// What a gate says is true of when it says so. A server whose clock was ahead meanwhile does not take it for the word of the
// hours it was ahead by: who came in them may be missing.
func TestWhatAGateSaidUnderAClockAheadIsNotOfTheFuture(t *testing.T) {
	for rule, ahead := range map[string]time.Duration{"hours": 9 * time.Hour, "weeks": 40 * 24 * time.Hour} {
		t.Run(rule, func(t *testing.T) {
			fx := newWitnessed(t)
			a := newInvestigators(fx.fixture)
			fx.pass(time.Hour)
			fx.clock.Add(ahead)
			fx.gates[0].left(0)
			fx.clock.Add(-ahead)
			fx.pass(10 * time.Hour)
			o := a.order(fx.fixture, "cafe", noon, noon.Add(4*time.Hour))
			answer, refused := inquire(t, fx.fixture, a, a.approved(t, o))
			if refused != "" || len(answer.Gates) != 1 {
				t.Fatalf("refused %q, gates %+v", refused, answer.Gates)
			}
			if g := answer.Gates[0]; g.Receipt.After(noon.Add(time.Hour)) || g.Delivered.After(noon.Add(time.Hour)) {
				t.Errorf("a gate last heard of at 13:00: %+v", g)
			}
		})
	}
}
