package visitserver

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/guard"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// to sets the clock and lets the server look at it.
func (fx *fixture) to(at time.Time) {
	fx.clock.Set(at)
	fx.wake <- at // the run before has ended: Destroyer waits again only then
	fx.wake <- at
}

// sealKeyFile reports whether the private half of the key of a day is there.
func (fx *fixture) sealKeyFile(d day.Day) bool {
	return exists(fx.t, filepath.Join(fx.folder.Dir, "keys", "seal", d.String()+".key"))
}

func (fx *fixture) sealKeys() map[string]SealKeyInfo {
	fx.t.Helper()
	var out struct{ Keys []SealKeyInfo }
	fx.admin(&out, "seal-key list")
	keys := map[string]SealKeyInfo{}
	for _, k := range out.Keys {
		keys[k.From] = k
	}
	return keys
}

// renewKey takes the provision the server gives and says so with a heartbeat, as a gate does.
func (d *gate) renewKey() visit.SealKeyID {
	d.fx.t.Helper()
	p, err := get[wire.Provision](d.fx, d.client, wire.PathProvision, wire.TypeProvision)
	testkit.Check(d.fx.t, err)
	d.sealKey = testkit.Must(visit.ParseSealPublicKey(p.SealKey))(d.fx.t)
	d.newEpoch()
	d.sayKey()
	return d.sealKey.ID()
}

func (d *gate) sayKey() wire.Receipt {
	d.fx.t.Helper()
	return testkit.Must(d.beat(wire.Heartbeat{SealKey: d.sealKey.ID()}))(d.fx.t)
}

func TestASealKeyIsReplacedEveryWeek(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	first := day.Of(noon)
	seen := map[visit.SealKeyID]day.Day{}
	for d := first; d < first+22; d++ {
		fx.to(d.Start().Add(12 * time.Hour))
		if d == first+9 {
			fx.restart()
		}
		began := first + (d-first)/SealKeyDays*SealKeyDays
		next := began + SealKeyDays
		if !fx.sealKeyFile(began) || !fx.sealKeyFile(next) {
			t.Fatalf("on %v the key of %v or of %v is not there: a backup would lack it", d, began, next)
		}
		id := g.sayKey().SealKey
		if old, ok := seen[id]; ok && old != began || !ok && d != began {
			t.Errorf("on %v gates are given key %v, first seen on %v", d, id, old)
		}
		seen[id] = began
		p, err := get[wire.Provision](fx, g.client, wire.PathProvision, wire.TypeProvision)
		testkit.Check(t, err)
		if key, err := visit.ParseSealPublicKey(p.SealKey); err != nil || key.ID() != id || p.Until != next.Start().UnixMilli() {
			t.Errorf("on %v the provision holds key %v until %v, %v", d, key.ID(), time.UnixMilli(p.Until), err)
		}
	}
	if len(seen) != 4 {
		t.Errorf("%d keys in 22 days", len(seen))
	}
	if log := fx.log.String(); strings.Contains(log, "level=ERROR") {
		t.Error(log)
	}
}

// A server that was off for weeks has only keys whose week is over: it makes one at once.
func TestAServerThatWasOffForWeeksTakesANewKeyIntoUse(t *testing.T) {
	fx := newFixture(t)
	fx.stop()
	fx.clock.Add(23 * 24 * time.Hour)
	fx.start()
	today := day.Of(fx.clock.Now())
	if got := fx.sealKeys()[today.String()]; got.State != SealKeyInUse || got.Until != (today+SealKeyDays).String() {
		t.Errorf("today's key is %+v", got)
	}
}

func TestAnOperatorTakesANewKeyIntoUse(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	old := g.sayKey().SealKey
	if err := fx.tryAdmin(nil, AdminRequest{Command: "seal-key rotate"}); err == nil || !strings.Contains(err.Error(), "today") {
		t.Errorf("a second key on one day: %v", err)
	}
	fx.to(noon.AddDate(0, 0, 2))
	g.journalled(newVisit(fx.clock.Now()))
	var out map[string]string
	fx.admin(&out, "seal-key rotate")
	fresh := g.sayKey().SealKey
	if fresh == old || out["key"] != fresh.String() || out["from"] != "2020-07-03" || out["until"] != "2020-07-08" {
		t.Errorf("rotated to %v, gates are given %v after %v", out, fresh, old)
	}
	g.deliver() // sealed to the old key
	if g.renewKey() != fresh {
		t.Error("the provision holds another key")
	}
	g.journalled(newVisit(fx.clock.Now()))
	g.deliver()
	if n := fx.stored("cafe"); n != 2 {
		t.Errorf("stored %d, want both", n)
	}
	for from, state := range map[string]string{"2020-07-01": SealKeyKept, "2020-07-03": SealKeyInUse, "2020-07-08": SealKeyNext} {
		if got := fx.sealKeys()[from]; got.State != state {
			t.Errorf("key of %s is %+v, want %s", from, got, state)
		}
	}
}

// A gate is what a key's life depends on: the key is there as long as a gate could come with a visit sealed to it that is not
// four weeks old, and not a day longer.
func TestASealKeyEndsFourWeeksAfterItsLastUse(t *testing.T) {
	first := day.Of(noon)
	second := first + SealKeyDays // when the first key is superseded
	var others map[visit.Gate]*gate
	for _, row := range []struct {
		rule string
		play func(fx *fixture, g *gate, d day.Day) // at the noon of each day
		last day.Day                               // of use
	}{
		{"a gate that goes over at once", func(_ *fixture, g *gate, d day.Day) {
			if d >= second {
				g.renewKey()
			}
		}, second},
		{"a gate that was offline for ten days", func(_ *fixture, g *gate, d day.Day) {
			if d >= second+10 {
				g.renewKey()
			}
		}, second + 10},
		{"a gate that goes back to an old image of its disk", func(_ *fixture, g *gate, d day.Day) {
			if d == second+5 {
				old := g.sealKey
				g.renewKey()
				g.sealKey = old
			}
			if d == second+6 || d == second+7 {
				g.sayKey()
			}
			if d > second+7 {
				g.renewKey()
			}
		}, second + 8},
		{"a gate that never comes back, and is revoked", func(fx *fixture, _ *gate, d day.Day) {
			if d == second+12 {
				fx.admin(nil, "terminal revoke", "cafe", "door")
			}
		}, second + 12},
		{"a gate whose device is replaced", func(fx *fixture, _ *gate, d day.Day) {
			if d == second+3 {
				_, csr := newKeyAndCSR(fx.t)
				testkit.Must(fx.enrol(fx.code("cafe", "door"), csr))(fx.t)
			}
		}, second + 3},
		{"gates that came later", func(fx *fixture, g *gate, d day.Day) {
			if d >= second {
				g.renewKey()
			}
			if d == second+20 {
				fx.gate("cafe", "late")
			}
		}, second},
		{"the last of several gates, neither the first nor the last by name", func(fx *fixture, g *gate, d day.Day) {
			if d == first {
				others = map[visit.Gate]*gate{"a": fx.gate("cafe", "a"), "z": fx.gate("cafe", "z")}
			}
			goesOver := map[visit.Gate]day.Day{"a": second, "door": second + 9, "z": second + 4}
			for _, each := range []*gate{others["a"], g, others["z"]} {
				if d >= goesOver[each.name] {
					each.renewKey()
				}
			}
		}, second + 9},
		{"a gate that was never enrolled", func(fx *fixture, g *gate, d day.Day) {
			if d == first {
				fx.code("cafe", "never")
			}
			if d >= second {
				g.renewKey()
			}
		}, second},
	} {
		t.Run(row.rule, func(t *testing.T) {
			fx := newFixture(t)
			fx.facility("cafe")
			g := fx.gate("cafe", "door")
			g.sayKey()
			name := g.sealKey.ID().String()
			for d := first; d < row.last+day.RetentionDays+1; d++ {
				fx.to(d.Start().Add(12 * time.Hour))
				row.play(fx, g, d)
				if !fx.sealKeyFile(first) {
					t.Fatalf("destroyed on %v, last used on %v", d, row.last)
				}
			}
			fx.to(row.last.DestroyAt().Add(-time.Second))
			if !fx.sealKeyFile(first) {
				t.Fatal("destroyed a second early")
			}
			if got := fx.sealKeys()[first.String()]; got.State != SealKeyKept || got.Ends != (row.last+day.RetentionDays+1).String() || got.Held != 0 {
				t.Errorf("told of as %+v", got)
			}
			fx.to(row.last.DestroyAt())
			if fx.sealKeyFile(first) {
				t.Fatal("not destroyed")
			}
			got := fx.sealKeys()[first.String()]
			if got.State != SealKeyDestroyed || got.Key != name || got.Destroyed == nil {
				t.Errorf("told of as %+v", got)
			}
			var entries []auditlog.Entry
			for _, e := range auditEntries(t, fx.folder) {
				if e.Kind == auditlog.KindSealKey && e.Day == first.String() {
					entries = append(entries, e)
				}
			}
			if len(entries) != 1 || !strings.Contains(entries[0].Note, name) {
				t.Errorf("the log tells %+v", entries)
			}
		})
	}
}

func TestAKeyThatAnAbsentGateHoldsIsKeptAndTold(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	absent := fx.gate("cafe", "door")
	absent.sayKey()
	there := fx.gate("cafe", "there")
	for d := range 60 {
		fx.to(noon.AddDate(0, 0, d))
		there.renewKey()
	}
	got := fx.sealKeys()[day.Of(noon).String()]
	if got.State != SealKeyKept || got.Held != 1 || !slices.Equal(got.By, []string{"cafe/door"}) || got.Ends != "" {
		t.Errorf("told of as %+v", got)
	}
	absent.journalled(newVisit(fx.clock.Now().AddDate(0, 0, -day.RetentionDays)), newVisit(fx.clock.Now()))
	if r := absent.deliver(); len(r.Settled.Refused) != 0 || fx.stored("cafe") != 2 {
		t.Errorf("the absent gate's visits, once it is back: %+v", r)
	}
}

// TestASealKeyIsKeptWhileTheClockIsInDoubt: it ends by the same horizon as a day, and its last use is dated by the latest
// clock.
func TestASealKeyIsKeptWhileTheClockIsInDoubt(t *testing.T) {
	first := day.Of(noon)
	last := first + SealKeyDays // when the gate goes over to the next key
	start := func(t *testing.T) (fx *fixture, g *gate, pass func(time.Duration)) {
		fx = newFixture(t)
		fx.stop()
		var ran atomic.Int64 // nanoseconds
		fx.elapsed = func() time.Duration { return time.Duration(ran.Load()) }
		fx.start()
		fx.facility("cafe")
		g = fx.gate("cafe", "door")
		g.sayKey()
		pass = func(d time.Duration) {
			for ; d > 0; d -= 6 * time.Hour {
				step := min(d, 6*time.Hour)
				fx.clock.Add(step) // the clock first: the server may be looking, and ahead is what it takes back
				ran.Add(int64(step))
				fx.to(fx.clock.Now())
			}
		}
		pass(last.Start().Add(time.Hour).Sub(noon))
		return fx, g, pass
	}
	t.Run("a clock that is ahead", func(t *testing.T) {
		fx, g, pass := start(t)
		g.renewKey()
		fx.to(last.DestroyAt().Add(time.Hour)) // no time has passed
		pass(guard.Proof - time.Hour)
		if !fx.sealKeyFile(first) {
			t.Error("a clock that jumped ahead has ended a key")
		}
		pass(time.Hour)
		pass(time.Hour) // it looks through the gates once an hour
		if fx.sealKeyFile(first) {
			t.Error("the key is kept after the clock has proven itself")
		}
	})
	t.Run("a clock that was set back as the gate went over", func(t *testing.T) {
		fx, g, pass := start(t)
		pass(10 * 24 * time.Hour)
		right := fx.clock.Now()
		fx.to(right.Add(-10 * 24 * time.Hour))
		g.renewKey()
		fx.to(right)
		pass(last.DestroyAt().Add(24 * time.Hour).Sub(right))
		if !fx.sealKeyFile(first) {
			t.Error("the key has ended before its time")
		}
		pass(10 * 24 * time.Hour)
		if fx.sealKeyFile(first) {
			t.Error("the key is kept past its time")
		}
	})
}

// Whoever has an old image of a gate's disk, and the server's whole folder with its master key as they are by now, opens
// nothing; and what the image would deliver is refused, which an operator is told.
func TestWhatWasSealedToADestroyedKeyOpensNoMore(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	g.sayKey()
	g.journalled(newVisit(noon), newVisit(noon))
	image := *g
	stolen := g.segment(2)
	g.deliver()
	last := day.Of(noon) + SealKeyDays
	for d := day.Of(noon); d <= last; d++ {
		fx.to(d.Start())
	}
	g.renewKey()
	for d := last; d < last+day.RetentionDays+1; d++ {
		fx.to((d + 1).Start())
	}
	ring := testkit.Must(daykey.Open(filepath.Join(fx.folder.Dir, "keys", "seal"), testkit.Must(fx.folder.readMaster())(t), DeriveSealKey, durable.Disk{}))(t)
	days := testkit.Must(ring.Days())(t)
	if len(days) < 2 {
		t.Fatalf("only %d keys to try", len(days))
	}
	for _, d := range days {
		key := testkit.Must(ring.Key(d))(t)
		for _, e := range stolen.Epochs {
			e.Key = key.ID()
			opener, err := visit.NewOpener(key, "cafe", "door", e)
			if err == nil {
				_, err = opener.Open(stolen.Records[0].Seq, stolen.Records[0].Data)
			}
			if !errors.Is(err, visit.ErrUnsealable) {
				t.Errorf("the key of %v opens a stolen record: %v", d, err)
			}
		}
	}
	for _, restarted := range []bool{false, true} {
		if restarted {
			fx.restart()
		}
		image.newJournal()
		image.journalled(newVisit(fx.clock.Now()))
		receipt := image.deliver()
		if got := receipt.Settled.Refused; !slices.Equal(got, []visit.Refusal{{Seq: 1, Reason: refuseDestroyedKey}}) {
			t.Errorf("refused %v", got)
		}
		if !slices.Contains(receipt.Alerts, AlertSealKey) {
			t.Errorf("alerts %v", receipt.Alerts)
		}
	}
}

func TestARecordOfAnUnknownKeyHoldsNoneUpAndIsTold(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	g.journalled(newVisit(noon))
	ours := g.sealer.Epoch()
	g.sealKey = testkit.Must(visit.GenerateSealKey())(t).Public()
	g.newEpoch()
	g.journalled(newVisit(noon))
	segment := g.segment(2)
	segment.Epochs = []visit.Epoch{ours, g.sealer.Epoch()}
	receipt := testkit.Must(g.send(segment))(t)
	if got := receipt.Settled.Refused; !slices.Equal(got, []visit.Refusal{{Seq: 2, Reason: refuseUnknownKey}}) || fx.stored("cafe") != 1 {
		t.Errorf("refused %v, stored %d", got, fx.stored("cafe"))
	}
	if !slices.Contains(receipt.Alerts, AlertSealKey) {
		t.Errorf("alerts %v", receipt.Alerts)
	}
}

// A key's destruction that was cut short is finished, and told once.
func TestTheEndOfASealKeyFinishesAfterACrashAtEachStep(t *testing.T) {
	fx := newFixture(t)
	first := day.Of(noon)
	for d := range day.Day(SealKeyDays + 1) {
		fx.to((first + d).Start())
	}
	fx.stop()
	images, order := map[string]string{}, []string{}
	s, parts := opened(t, fx.folder, fx.clock)
	s.step = func(step string) {
		dir := filepath.Join(shortDir(t), "image")
		testkit.Check(t, os.CopyFS(dir, os.DirFS(fx.folder.Dir)))
		images[step], order = dir, append(order, step)
	}
	fx.clock.Set((first + SealKeyDays).DestroyAt())
	s.tendSealKeys(t.Context())
	testkit.Check(t, parts.close())
	images["ended"], order = fx.folder.Dir, append(order, "ended")
	if !slices.Equal(order, []string{"seal key destroyed", "seal key logged", "ended"}) {
		t.Fatalf("steps %v", order)
	}
	for _, step := range order {
		t.Run("after "+step, func(t *testing.T) {
			f := Folder{Dir: images[step], Secrets: fx.folder.SecretDir()}
			for range 2 {
				s, parts := opened(t, f, fx.clock)
				s.tendSealKeys(t.Context())
				for _, k := range testkit.Must(s.SealKeys(t.Context()))(t) {
					if (k.From == first.String()) != (k.State == SealKeyDestroyed) || k.State == SealKeyDamaged {
						t.Errorf("%+v", k)
					}
				}
				testkit.Check(t, parts.close())
			}
			told := 0
			for _, e := range auditEntries(t, f) {
				if e.Kind == auditlog.KindSealKey {
					told++
				}
			}
			if told != 1 {
				t.Errorf("told %d times", told)
			}
		})
	}
}

// A damaged file of the key in use costs what was sealed to it; gates get another, and put right it opens again.
func TestADamagedSealKeyHoldsNothingUp(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	g.journalled(newVisit(noon))
	fx.stop()
	path := filepath.Join(fx.folder.Dir, "keys", "seal", day.Of(noon).String()+".key")
	whole := testkit.Must(os.ReadFile(path))(t)
	testkit.Check(t, os.WriteFile(path, whole[1:], 0o600))
	fx.start()
	other := fx.gate("cafe", "other")
	other.journalled(newVisit(noon))
	if got := other.deliver(); len(got.Settled.Refused) != 0 || got.SealKey == g.sealKey.ID() {
		t.Errorf("another gate: %+v", got)
	}
	if !strings.Contains(fx.log.String(), "sealing key is damaged") {
		t.Error("it was not told")
	}
	fx.stop()
	testkit.Check(t, os.WriteFile(path+".damaged-1", whole, 0o600))
	fx.start()
	if got := g.deliver(); len(got.Settled.Refused) != 0 || fx.stored("cafe") != 2 {
		t.Errorf("put right: %+v", got)
	}
}

// A server whose clock is set back for some hours takes no key of that past into use: gates would seal visits to it, and it
// would be destroyed as long over when the clock is put right.
func TestAClockSetBackCostsNoVisitItsKey(t *testing.T) {
	for rule, known := range map[string]bool{"the time is known": true, "nothing is known of the time": false} {
		t.Run(rule, func(t *testing.T) {
			fx := newFixture(t)
			var ran atomic.Int64 // nanoseconds
			fx.stop()
			fx.elapsed = func() time.Duration { return time.Duration(ran.Load()) }
			fx.start()
			fx.facility("cafe")
			g := fx.gate("cafe", "door")
			g.renewKey()
			if known {
				ran.Add(int64(guard.Proof))
				fx.to(noon.Add(guard.Proof))
			}
			truth := fx.clock.Now()
			fx.to(truth.Add(-40 * 24 * time.Hour))
			g.renewKey()
			g.journalled(newVisit(truth))
			ran.Add(int64(time.Hour))
			fx.to(truth.Add(time.Hour))
			g.sayKey()
			fx.to(truth.Add(2 * time.Hour))
			if r := g.deliver(); len(r.Settled.Refused) > 0 || fx.stored("cafe") != 1 {
				t.Errorf("a visit of these hours is refused: %+v", r)
			}
		})
	}
}
