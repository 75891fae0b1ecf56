package visitserver

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

// damagedFixture is a server with visits of three days at one gate, the middle day of which is then damaged.
type damagedFixture struct {
	*fixture
	gate   *gate
	day    day.Day
	before []visit.Visit // stored before the damage
}

func newDamagedFixture(t *testing.T) *damagedFixture {
	fx := &damagedFixture{fixture: newFixture(t), day: day.Of(noon)}
	fx.facility("cafe")
	fx.gate = fx.fixture.gate("cafe", "door")
	fx.clock.Set(noon.Add(24 * time.Hour))
	fx.before = fx.scan()
	fx.stop()
	return fx
}

// scan delivers a visit of each of the three days.
func (fx *damagedFixture) scan() []visit.Visit {
	fx.t.Helper()
	visits := []visit.Visit{newVisit(noon.Add(-24 * time.Hour)), newVisit(noon), newVisit(noon.Add(23 * time.Hour))}
	fx.gate.journalled(visits...)
	if r := fx.gate.deliver(); len(r.Settled.Refused) != 0 {
		fx.t.Errorf("refused %v", r.Settled.Refused)
	}
	return visits
}

// codes are those an order over all three days is told.
func (fx *damagedFixture) codes(t *testing.T, a *investigators) []visit.CTI {
	t.Helper()
	o := a.order(fx.fixture, "cafe", noon.Add(-48*time.Hour), noon.Add(24*time.Hour))
	answer, refused := inquire(t, fx.fixture, a, a.approved(t, o))
	if refused != "" {
		t.Fatalf("refused: %s", refused)
	}
	var codes []visit.CTI
	for _, s := range answer.Scans {
		codes = append(codes, s.CTI)
	}
	slices.SortFunc(codes, func(a, b visit.CTI) int { return bytes.Compare(a[:], b[:]) })
	return codes
}

func ctis(visits ...visit.Visit) []visit.CTI {
	var codes []visit.CTI
	for _, v := range visits {
		codes = append(codes, v.CTI)
	}
	slices.SortFunc(codes, func(a, b visit.CTI) int { return bytes.Compare(a[:], b[:]) })
	return codes
}

func (fx *damagedFixture) keyPath() string {
	return fx.folder.path("keys", "days", fx.day.String()+".key")
}

func TestADamagedDayKeyHoldsNothingUp(t *testing.T) {
	fx := newDamagedFixture(t)
	good := testkit.Must(os.ReadFile(fx.keyPath()))(t)
	testkit.Check(t, os.WriteFile(fx.keyPath(), good[:40], 0o600))
	fx.start()
	a := newInvestigators(fx.fixture)
	after := fx.scan()
	if n := fx.stored("cafe"); n != 6 {
		t.Errorf("stored %d visits, want 6", n)
	}
	if got := fx.ledger().SetAside; !slices.Equal(got, []string{fx.day.String()}) {
		t.Errorf("the ledger tells of %v", got)
	}
	if log := fx.log.String(); !strings.Contains(log, "day key") || !strings.Contains(log, fx.day.String()) {
		t.Errorf("the log does not tell: %s", log)
	}
	// What was stored under the damaged key is lost until the operator puts its file right.
	testkit.Check(t, os.WriteFile(fx.keyPath()+".damaged-1", good, 0o600))
	if got := fx.codes(t, a); !slices.Equal(got, ctis(append(after, fx.before...)...)) {
		t.Errorf("an order is told %d codes, want all 6", len(got))
	}
	fx.clock.Add(30 * 24 * time.Hour)
	fx.admin(nil, "destroy", ConfirmClock)
	if left := testkit.Must(filepath.Glob(fx.keyPath() + "*"))(t); len(left) != 0 {
		t.Errorf("left of the day: %v", left)
	}
}

func TestADamagedNeighbourDayHoldsNothingUp(t *testing.T) {
	fx := newDamagedFixture(t)
	testkit.Check(t, os.WriteFile(fx.keyPath(), []byte("torn"), 0o600))
	fx.start()
	edge := newVisit((fx.day + 1).Start().Add(time.Second)) // might be held by the day before
	moved := newVisit(noon.Add(-time.Hour))                 // might be held by any day
	moved.Clock = visit.ClockUntrusted
	fx.gate.journalled(edge, moved)
	if r := fx.gate.deliver(); len(r.Settled.Refused) != 0 {
		t.Errorf("refused %v", r.Settled.Refused)
	}
	if n := fx.stored("cafe"); n != 5 {
		t.Errorf("stored %d visits, want 5", n)
	}
}

func TestADamagedDatabaseOfADayHoldsNothingUp(t *testing.T) {
	for rule, damage := range map[string]func(t *testing.T, dir string){
		"its manifest is overwritten": func(t *testing.T, dir string) { overwrite(t, dir, "MANIFEST-") },
		"its options are empty":       func(t *testing.T, dir string) { empty(t, dir, "OPTIONS-") },
		"its log is overwritten":      func(t *testing.T, dir string) { overwrite(t, dir, ".log") },
		"it is a file":                func(t *testing.T, dir string) { replaceByFile(t, dir) },
	} {
		t.Run(rule, func(t *testing.T) {
			fx := newDamagedFixture(t)
			dir := filepath.Join(fx.folder.Visits(), "days", fx.day.String())
			damage(t, dir)
			fx.start()
			fx.scan()
			fx.restart()
			fx.scan()
			if got := fx.ledger().SetAside; len(got) > 1 || len(got) == 1 && got[0] != fx.day.String() {
				t.Errorf("the ledger tells of %v", got)
			}
			if n := fx.stored("cafe"); n < 8 { // 3 before, of which that of the day may be lost, and 6 after
				t.Errorf("stored %d visits", n)
			}
			fx.clock.Add(30 * 24 * time.Hour)
			fx.admin(nil, "destroy", ConfirmClock)
			testkit.Check(t, filepath.WalkDir(fx.folder.Visits(), func(path string, e fs.DirEntry, err error) error {
				if err == nil && strings.Contains(path, fx.day.String()) {
					t.Errorf("left of the day: %s", path)
				}
				return err
			}))
		})
	}
}

// eachFile calls f for the files of a folder whose name holds part.
func eachFile(t *testing.T, dir, part string, f func(path string)) {
	t.Helper()
	n := 0
	for _, e := range testkit.Must(os.ReadDir(dir))(t) {
		if strings.Contains(e.Name(), part) {
			f(filepath.Join(dir, e.Name()))
			n++
		}
	}
	if n == 0 {
		t.Fatalf("%s has no file %s", dir, part)
	}
}

func overwrite(t *testing.T, dir, part string) {
	eachFile(t, dir, part, func(path string) {
		b := testkit.Must(os.ReadFile(path))(t)
		for i := range b {
			b[i] ^= 0x5a
		}
		testkit.Check(t, os.WriteFile(path, b, 0o600))
	})
}

func empty(t *testing.T, dir, part string) {
	eachFile(t, dir, part, func(path string) { testkit.Check(t, os.Truncate(path, 0)) })
}

func replaceByFile(t *testing.T, dir string) {
	testkit.Check(t, os.RemoveAll(dir))
	testkit.Check(t, os.WriteFile(dir, []byte("x"), 0o600))
}

// Each of the records is one that no gate writes; the visits before and behind it are taken, and that one may be missing is
// told in answers to orders.
func TestOneMalformedRecordIsRefusedAlone(t *testing.T) {
	for rule, c := range map[string]struct {
		spoil  func(g *gate, s *visit.Segment)
		reason string
	}{
		"without bytes":         {func(_ *gate, s *visit.Segment) { s.Records[1].Data = nil }, refuseMalformed},
		"of a byte":             {func(_ *gate, s *visit.Segment) { s.Records[1].Data = []byte{1} }, refuseMalformed},
		"of the tag alone":      {func(_ *gate, s *visit.Segment) { s.Records[1].Data = make([]byte, visit.SealOverhead) }, refuseMalformed},
		"a byte too long":       {func(_ *gate, s *visit.Segment) { s.Records[1].Data = make([]byte, visit.MaxSealed+1) }, refuseMalformed},
		"far too long":          {func(_ *gate, s *visit.Segment) { s.Records[1].Data = make([]byte, 100_000) }, refuseMalformed},
		"of no visit":           {sealNoVisit, refuseMalformed},
		"of other bytes":        {func(_ *gate, s *visit.Segment) { s.Records[1].Data[0] ^= 1 }, refuseUnsealable},
		"in a broken epoch":     {func(_ *gate, s *visit.Segment) { insertEpoch(s, make([]byte, visit.EncSize)) }, refuseUnsealable},
		"in an epoch cut short": {func(_ *gate, s *visit.Segment) { insertEpoch(s, make([]byte, 3)) }, refuseUnsealable},
	} {
		t.Run(rule, func(t *testing.T) {
			fx := newFixture(t)
			fx.facility("cafe")
			a := newInvestigators(fx)
			g := fx.gate("cafe", "door")
			g.journalled(newVisit(noon), newVisit(noon), newVisit(noon))
			s := g.segment(3)
			c.spoil(g, &s)
			for range 2 {
				r, err := g.send(s)
				if err != nil || r.Settled.Through != 3 || !slices.Equal(r.Settled.Refused, []visit.Refusal{{Seq: 2, Reason: c.reason}}) {
					t.Fatalf("receipt %+v, %v; want record 2 refused as %s and no other", r, err, c.reason)
				}
			}
			if n := fx.stored("cafe"); n != 2 {
				t.Errorf("stored %d visits, want 2", n)
			}
			answer, refused := inquire(t, fx, a, a.approved(t, a.order(fx, "cafe", noon.Add(-time.Hour), noon.Add(time.Second))))
			if refused != "" || len(answer.Gates) != 1 || len(answer.Gates[0].Gaps) != 1 {
				t.Errorf("refused %q, the answer tells of %+v, want one gap", refused, answer.Gates)
			}
		})
	}
}

// sealNoVisit puts something else than a visit into record 2, sealed as it should be.
func sealNoVisit(g *gate, s *visit.Segment) {
	sealer := testkit.Must(visit.NewSealer(g.sealKey, g.facility, g.name, 2))(g.fx.t)
	insertEpoch(s, sealer.Epoch().Enc)
	s.Records[1].Data = sealer.Seal(nil, 2, []byte("no visit"))
}

// insertEpoch puts record 2 into an epoch of its own, and record 3 back into the good one.
func insertEpoch(s *visit.Segment, enc []byte) {
	good := s.Epochs[0]
	s.Epochs = []visit.Epoch{good, {First: 2, Key: good.Key, Enc: enc}, {First: 3, Key: good.Key, Enc: good.Enc}}
}

// What the register holds of a gate's past is no reason to refuse its visits.
func TestDamagedRowsOfAGateHoldNothingUp(t *testing.T) {
	for _, table := range []string{tableGate, tableJournal, tableHeartbeat} {
		t.Run(table, func(t *testing.T) {
			d := newDirectFixture(t, newMemoryStore())
			requests := d.requests(t)[2:] // batch and heartbeat
			for _, when := range []string{"before", "after"} {
				for _, r := range requests {
					if w := d.call(r.path, r.contentType, r.good); w.Code != 200 {
						t.Errorf("%s the damage: %s is answered %d", when, r.path, w.Code)
					}
				}
				rows := d.store.(*memoryStore).values[table]
				if len(rows) == 0 {
					t.Fatal("no row to damage")
				}
				for key := range rows {
					rows[key] = []byte(`{"chain":"AA==","last":1,"at":7`)
				}
			}
		})
	}
}
