package visitserver

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/guard"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

func TestPlacing(t *testing.T) {
	received := noon
	last := noon.Add(-time.Hour)
	proven := func(at time.Time) visit.Visit { return visit.Visit{At: at, Clock: visit.ClockHoldover} }
	unproven := func(at time.Time) visit.Visit { return visit.Visit{At: at, Clock: visit.ClockUntrusted} }
	oldest := day.OldestKept(received).Start()
	for _, c := range []struct {
		rule  string
		v     visit.Visit
		last  time.Time
		at    time.Time // zero: refused
		moved bool
	}{
		{"a proven time is taken as it is", proven(noon.Add(-time.Minute)), last, noon.Add(-time.Minute), false},
		{"even before the gate's last visit", proven(last.Add(-time.Hour)), last, last.Add(-time.Hour), false},
		{"ahead of the server it may be right, and the server's clock slow", proven(noon.Add(guard.Reach)), last, noon.Add(guard.Reach), false},
		{"further ahead it is no time of a visit", proven(noon.Add(guard.Reach + time.Millisecond)), last, noon, true},
		{"the first instant kept is kept", proven(oldest), last, oldest, false},
		{"the instant before it is too old", proven(oldest.Add(-time.Millisecond)), last, time.Time{}, false},
		{"an unproven time that fits stays", unproven(noon.Add(-time.Minute)), last, noon.Add(-time.Minute), true},
		{"an unproven time before the last proven one is moved to it", unproven(last.Add(-10 * time.Minute)), last, last, true},
		{"but to no later day than its code's", unproven(noon.Add(-24 * time.Hour)), last, day.Of(noon).Start().Add(-time.Millisecond), true},
		{"which may be the day after its issue", unproven(day.Of(noon).Start().Add(-5 * time.Second)), last, last, true},
		{"ahead of the server it may be right, and the server's clock slow as well", unproven(noon.Add(guard.Reach)), last, noon.Add(guard.Reach), true},
		{"an unproven time further ahead is moved to arrival", unproven(noon.Add(guard.Reach + time.Millisecond)), last, noon, true},
		{"an unproven time after a gate's long silence is kept, if its code is", unproven(oldest.Add(-20 * time.Second)), time.Time{}, oldest, true},
		{"and is too old if its code is destroyed", unproven(oldest.Add(-time.Minute)), time.Time{}, time.Time{}, false},
		{"a last visit ahead of arrival does not push", unproven(noon.Add(2 * guard.Reach)), noon.Add(time.Minute), noon, true},
	} {
		p, ok := place(c.v, c.last, received)
		if ok == c.at.IsZero() || !p.at.Equal(c.at) || p.moved != c.moved {
			t.Errorf("%s: %v moved %v ok %v, want %v moved %v", c.rule, p.at, p.moved, ok, c.at, c.moved)
		}
	}
}

// TestNoVisitOutlivesItsCode: wherever a visit is put, the issuer keeps the code for as long, and what is refused as too old
// is of a code that is destroyed.
func TestNoVisitOutlivesItsCode(t *testing.T) {
	const d = 24 * time.Hour
	midnight := day.Of(noon).Start()
	placed := 0
	check := func(v visit.Visit, iat, last, received time.Time) {
		t.Helper()
		p, ok := place(v, last, received)
		oldest := day.OldestKept(received)
		switch on := day.Of(p.at); {
		case !ok && v.Clock == visit.ClockUntrusted && day.OfCode(iat) >= oldest:
			t.Fatalf("a code of %v is refused at %v, though its issuer keeps it", iat, received)
		case !ok && v.Clock != visit.ClockUntrusted && day.Of(v.At) >= oldest:
			t.Fatalf("a visit of %v is refused at %v", v.At, received)
		case !ok:
			return
		case on > day.OfCode(iat):
			t.Fatalf("a visit of %v, after one of %v, is put to %v at %v: a day after its code of %v is gone", v.At, last, p.at, received, iat)
		case on < oldest:
			t.Fatalf("a visit of %v, after one of %v, is put to %v at %v: a day that is destroyed", v.At, last, p.at, received)
		}
		placed++
	}
	for since := -2 * time.Minute; since <= time.Minute; since += 5 * time.Second {
		iat := midnight.Add(since)
		for _, before := range []time.Duration{-40 * d, -29 * d, -d, -time.Hour, -time.Second, 0, 20 * time.Second, time.Hour, 3 * d, 40 * d} {
			for _, later := range []time.Duration{-2 * time.Hour, 0, time.Minute, 2 * d, 27 * d, 28 * d, 29 * d, 30 * d, 60 * d} {
				last, received := iat.Add(before), iat.Add(later)
				check(visit.Visit{At: iat, Clock: visit.ClockUntrusted}, iat, last, received)
				for at := iat.Add(-day.MaxSkew); !at.After(iat.Add(day.CodeLifetime + day.MaxSkew)); at = at.Add(time.Second) {
					check(visit.Visit{At: at, Clock: visit.ClockSynced}, iat, last, received)
				}
			}
		}
	}
	if placed == 0 {
		t.Error("nothing was placed")
	}
}

// line is a journal of opaque records, for the arithmetic of sequences alone.
func line(from, to uint64, flavour byte) []visit.Sealed {
	var all []visit.Sealed
	for seq := from; seq <= to; seq++ {
		all = append(all, visit.Sealed{Seq: seq, Data: []byte{flavour, byte(seq)}})
	}
	return all
}

func chainOf(id visit.JournalID, records []visit.Sealed) visit.Chain {
	c := visit.Genesis(id)
	for _, r := range records {
		c = c.Next(r)
	}
	return c
}

func TestContinuityOfSegments(t *testing.T) {
	id := visit.JournalID{1}
	truth := line(1, 20, 'a')
	other := append(line(1, 5, 'a'), line(6, 20, 'b')...)
	cut := func(all []visit.Sealed, from, to int) visit.Segment {
		return visit.Segment{Journal: id, Prev: chainOf(id, all[:from-1]), Records: all[from-1 : to]}
	}
	known := func(all []visit.Sealed, last int) JournalRow {
		if last == 0 {
			return JournalRow{}
		}
		c := chainOf(id, all[:last])
		return JournalRow{Last: uint64(last), Chain: c[:], Held: []heldEnd{{uint64(last), c[:]}}}
	}
	for _, c := range []struct {
		rule string
		row  JournalRow
		seg  visit.Segment
		want continuity
	}{
		{"first of a new journal", known(truth, 0), cut(truth, 1, 3), continuity{}},
		{"continuation", known(truth, 10), cut(truth, 11, 20), continuity{known: 10}},
		{"the same again", known(truth, 10), cut(truth, 1, 10), continuity{known: 10}},
		{"a later cut that overlaps", known(truth, 10), cut(truth, 5, 15), continuity{known: 10}},
		{"a shorter cut of what is known cannot be told", known(truth, 10), cut(truth, 1, 5), continuity{unsure: true}},
		{"a hole", known(truth, 10), cut(truth, 13, 20), continuity{alert: AlertGap, missing: 2}},
		{"a new journal that does not begin at 1", known(truth, 0), cut(truth, 4, 5), continuity{alert: AlertGap, missing: 3}},
		{"a continuation of another history", known(other, 10), cut(truth, 11, 20), continuity{alert: AlertFork}},
		{"a new journal with a foreign beginning", known(truth, 0),
			visit.Segment{Journal: id, Prev: visit.Chain{9}, Records: truth[:2]}, continuity{alert: AlertFork}},
		{"another history up to what is known", known(truth, 10), cut(other, 6, 10), continuity{alert: AlertRollback}},
		{"another history beyond what is known", known(truth, 10), cut(other, 6, 12), continuity{alert: AlertFork}},
	} {
		got := c.row.compare(c.seg, 1)
		if got.head != c.seg.Head() {
			t.Errorf("%s: the chain leads to %x", c.rule, got.head)
		}
		if got.head, got.held = c.want.head, nil; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.rule, got, c.want)
		}
	}
}

// Of each device the register knows up to where nothing lacks that it could still send.
func TestWhatIsHeldOfEachDevice(t *testing.T) {
	id := visit.JournalID{1}
	truth := line(1, 20, 'a')
	other := append(line(1, 5, 'a'), line(6, 20, 'b')...)
	type branch []visit.Sealed
	end := func(all branch, at int) heldEnd {
		c := chainOf(id, all[:at])
		return heldEnd{uint64(at), c[:]}
	}
	two := []heldEnd{end(other, 10), end(truth, 7)}
	for _, c := range []struct {
		rule     string
		held     []heldEnd
		all      branch
		from, to int
		oldest   uint64
		want     []heldEnd
		known    uint64
		unproven bool
	}{
		{"a continuation", []heldEnd{end(truth, 5)}, truth, 6, 8, 1, []heldEnd{end(truth, 8)}, 5, false},
		{"a retry", []heldEnd{end(truth, 5)}, truth, 3, 5, 1, []heldEnd{end(truth, 5)}, 5, false},
		{"a shorter retry says nothing yet", []heldEnd{end(truth, 5)}, truth, 1, 3, 1, []heldEnd{end(truth, 5), end(truth, 3)}, 0, false},
		{"of two, the one that is continued", two, truth, 8, 9, 3, []heldEnd{end(other, 10), end(truth, 9)}, 7, false},
		{"of two, the other", two, other, 9, 12, 3, []heldEnd{end(truth, 7), end(other, 12)}, 10, false},
		{"all of both", two, other, 1, 12, 1, []heldEnd{end(truth, 7), end(other, 12)}, 10, false},
		{"what goes on from nothing that is held is none", two, truth, 9, 12, 3, two, 0, false},
		{"unless the gate can send nothing earlier", two, truth, 9, 12, 9, append(two[:2:2], end(truth, 12)), 0, true},
		{"the beginning needs no proof", two, line(1, 3, 'c'), 1, 3, 1, append(two[:2:2], end(line(1, 3, 'c'), 3)), 0, false},
	} {
		row := JournalRow{Last: 10, Chain: end(other, 10).Chain, Held: c.held}
		seg := visit.Segment{Journal: id, Prev: chainOf(id, c.all[:c.from-1]), Records: c.all[c.from-1 : c.to]}
		got := row.compare(seg, c.oldest)
		if !reflect.DeepEqual(got.held, c.want) || got.known != c.known || got.unproven != c.unproven {
			t.Errorf("%s: known %d, unproven %v, held %v; want %d, %v, %v",
				c.rule, got.known, got.unproven, got.held, c.known, c.unproven, c.want)
		}
	}
	var row JournalRow
	for i := range byte(2 * maxHeld) { // whoever has a copy of the gate's key may make up histories
		seg := visit.Segment{Journal: id, Prev: visit.Genesis(id), Records: line(1, 1, 'a'+i)}
		row = row.advance(seg, row.compare(seg, 1), nil, 1, 0)
	}
	if n := len(row.Held); n != maxHeld {
		t.Errorf("%d ends are held, want %d", n, maxHeld)
	}
}

func TestJournalRowNeverGoesBack(t *testing.T) {
	id := visit.JournalID{1}
	truth := line(1, 20, 'a')
	chain := chainOf(id, truth[:10])
	row := JournalRow{Last: 10, Chain: chain[:], Stored: 8, Refused: 2,
		Recent: []visit.Refusal{{Seq: 3, Reason: "malformed"}, {Seq: 9, Reason: "malformed"}}}
	seg := visit.Segment{Journal: id, Prev: visit.Genesis(id), Records: truth[:5]}
	next := row.advance(seg, row.compare(seg, 1), []visit.Refusal{{Seq: 3, Reason: "malformed"}}, 0, 4)
	if next.Last != 10 || visit.Chain(next.Chain) != chain || next.Refused != 2 || len(next.Recent) != 2 {
		t.Errorf("after a shorter retry: %+v", next)
	}
	seg.Records = truth
	next = next.advance(seg, next.compare(seg, 1), next.Recent, 10, 0)
	if next.Last != 20 || visit.Chain(next.Chain) != chainOf(id, truth) || next.Stored != 18 || next.Refused != 2 {
		t.Errorf("after all: %+v", next)
	}
	seg = visit.Segment{Journal: id, Prev: chainOf(id, truth), Records: line(21, 22, 'a')}
	if next = next.advance(seg, next.compare(seg, 1), nil, 2, 0); len(next.Recent) != 0 {
		t.Errorf("refusals long settled are still kept: %+v", next.Recent)
	}
}

// Whoever sends a journal backwards, all of it to be refused, has no more remembered of it than of one batch.
func TestRefusalsThatAreRememberedAreFew(t *testing.T) {
	id := visit.JournalID{1}
	const batches = 5
	all := line(1, batches*wire.MaxRecords, 'a')
	var row JournalRow
	for n := batches; n > 0; n-- {
		seg := visit.Segment{Journal: id, Records: all[(n-1)*wire.MaxRecords : n*wire.MaxRecords]}
		var refused []visit.Refusal
		for _, r := range seg.Records {
			refused = append(refused, visit.Refusal{Seq: r.Seq, Reason: "malformed"})
		}
		row = row.advance(seg, row.compare(seg, 1), refused, 0, 0)
		if got := row.Recent; len(got) != wire.MaxRecords || got[len(got)-1].Seq != batches*wire.MaxRecords {
			t.Fatalf("after batch %d: %d are remembered, the last of record %d", n, len(got), got[len(got)-1].Seq)
		}
	}
}

func TestRefusalsAreToldAgainUntilSettled(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	g.journalled(newVisit(noon))
	g.sealed([]byte("no visit"))
	g.journalled(newVisit(noon.Add(-29*24*time.Hour)), newVisit(noon))
	g.records[3].Data = slices.Clone(g.records[3].Data)
	g.records[3].Data[0] ^= 1
	g.journalled(newVisit(noon))
	want := []visit.Refusal{{Seq: 2, Reason: refuseMalformed}, {Seq: 3, Reason: refuseTooOld}, {Seq: 4, Reason: refuseUnsealable}}
	for _, n := range []int{5, 5, 5} {
		receipt, err := g.send(g.segment(n))
		if err != nil || !slices.Equal(receipt.Settled.Refused, want) || receipt.Settled.Through != 5 || len(receipt.Alerts) > 0 {
			t.Fatalf("receipt %+v, %v; want refusals %v", receipt, err, want)
		}
		fx.restart()
	}
	if receipt, err := g.send(g.segment(3)); err != nil || !slices.Equal(receipt.Settled.Refused, want[:2]) || receipt.Settled.Through != 3 {
		t.Errorf("a shorter cut: %+v, %v", receipt, err)
	}
	g.journalled(newVisit(noon))
	receipt, err := g.send(g.segment(6))
	if err != nil || !slices.Equal(receipt.Settled.Refused, want) {
		t.Errorf("a longer cut: %+v, %v", receipt, err)
	}
	j := fx.ledger().Gates[0].Journals[0]
	if j.Last != 6 || j.Stored != 3 || j.Refused != 3 {
		t.Errorf("ledger %+v, want 6 = 3 stored and 3 refused", j)
	}
}

func TestRecordsForAnotherServerKeyAreRefusedAsSuch(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	other, err := visit.GenerateSealKey()
	if err != nil {
		t.Fatal(err)
	}
	g.sealKey = other.Public()
	g.newEpoch()
	g.journalled(newVisit(noon))
	if got := g.deliver().Settled.Refused; !slices.Equal(got, []visit.Refusal{{Seq: 1, Reason: refuseUnknownKey}}) {
		t.Errorf("refused %v", got)
	}
}

func TestRecordsSealedForAnotherPlaceDoNotOpen(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	fx.facility("club")
	cafe, club := fx.gate("cafe", "door"), fx.gate("club", "door")
	cafe.journalled(newVisit(noon))
	club.journal, club.prev, club.records, club.sealer = cafe.journal, cafe.prev, cafe.records, cafe.sealer
	if got := club.deliver().Settled.Refused; !slices.Equal(got, []visit.Refusal{{Seq: 1, Reason: refuseUnsealable}}) {
		t.Errorf("refused %v", got)
	}
	if got := cafe.deliver().Settled.Refused; len(got) != 0 {
		t.Errorf("at its own place refused %v", got)
	}
}

func TestJumpsOfAJournalAreToldAndLoseNothing(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	alerts := func(rule string, want ...string) {
		t.Helper()
		if got := g.deliver().Alerts; !slices.Equal(got, want) {
			t.Errorf("%s: alerts %v, want %v", rule, got, want)
		}
	}
	three := func() { g.journalled(newVisit(noon), newVisit(noon), newVisit(noon)) }
	three()
	alerts("first batch")
	image := *g // the disk as it is now
	three()
	alerts("second batch")
	three()
	g.settle(7)
	alerts("one record was lost", AlertGap)
	front := *g
	*g = image
	g.newEpoch()
	three()
	alerts("an old image was put back", AlertRollback)
	three()
	three()
	alerts("and overtakes what was known", AlertFork)
	three()
	alerts("and is then the history")
	*g = front
	g.newEpoch()
	three()
	alerts("while the original lives on", AlertRollback)
	if n := fx.stored("cafe"); n != 3+3+2+3+6+3+3 {
		t.Errorf("stored %d, want every visit", n)
	}
	j := fx.ledger().Gates[0].Journals[0]
	if j.Missing != 1 || j.Alerts[AlertGap] != 1 || j.Alerts[AlertFork] != 1 || j.Alerts[AlertRollback] != 2 {
		t.Errorf("ledger %+v", j)
	}
	g.newJournal()
	three()
	alerts("a new journal", AlertNewJournal)
}

func TestOneCodeAtTwoGatesIsOneVisit(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	gates := []*gate{fx.gate("cafe", "east"), fx.gate("cafe", "west"), fx.gate("cafe", "north")}
	const codes = 40
	for range codes {
		v := newVisit(noon)
		for _, g := range gates {
			g.journalled(v)
		}
	}
	done := make(chan error, len(gates))
	for _, g := range gates {
		go func() {
			for range codes {
				if _, err := g.send(g.segment(1)); err != nil {
					done <- err
					return
				}
				g.settle(g.records[0].Seq)
			}
			done <- nil
		}()
	}
	for range gates {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if n := fx.stored("cafe"); n != codes {
		t.Errorf("stored %d, want %d", n, codes)
	}
	var sum uint64
	for _, g := range fx.ledger().Gates {
		sum += g.Journals[0].Stored
	}
	if sum != codes {
		t.Errorf("gates' rows say %d were stored, want %d", sum, codes)
	}
}

func TestOneCodeReadOnBothSidesOfMidnightIsOneVisit(t *testing.T) {
	for rule, at := range map[string][2]time.Duration{
		"within its life":                     {-5 * time.Second, 3 * time.Second},
		"by the two most different of clocks": {-time.Second, day.CodeLifetime + 2*day.MaxSkew - time.Second},
		"by those, the later one at midnight": {-day.CodeLifetime - 2*day.MaxSkew, 0},
	} {
		for _, first := range []int{0, 1} {
			t.Run(fmt.Sprint(rule, ", delivered ", first), func(t *testing.T) {
				fx := newFixture(t)
				midnight := (day.Of(noon) + 1).Start()
				fx.clock.Set(midnight.Add(2 * time.Minute))
				fx.facility("cafe")
				gates := [2]*gate{fx.gate("cafe", "east"), fx.gate("cafe", "west")}
				v := newVisit(noon)
				for n, g := range gates {
					v.At = midnight.Add(at[n])
					g.journalled(v)
				}
				gates[first].deliver()
				gates[1-first].deliver()
				if n := fx.stored("cafe"); n != 1 {
					t.Errorf("stored %d, want 1", n)
				}
			})
		}
	}
}

func TestAnUnprovenTimeIsPlacedOnceThoughItsReceiptIsLost(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	v := newVisit(noon.Add(-time.Hour))
	v.Clock = visit.ClockUntrusted
	g.journalled(v)
	g.deliver()
	// Days later the same record, whose time is its code's, comes from a gate whose journal was put back.
	fx.clock.Add(3 * 24 * time.Hour)
	g.newJournal()
	g.journalled(v)
	g.deliver()
	if n := fx.stored("cafe"); n != 1 {
		t.Errorf("stored %d, want 1", n)
	}
	status, c := readCounts(t, fx, "cafe", managerToken(fx, "cafe"), "2020-07-01")
	if status != 200 || c.Total != 1 || c.Hours[0].Hour != 12 {
		t.Errorf("placed at %+v, want noon, when the gate was added", c)
	}
}

// An unproven time is what the code's issuer signed. One issuer that dates its codes ahead must not carry away the visits
// of others that stand behind them in a journal.
func TestACodeDatedAheadMovesNoOtherUnprovenVisit(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	begun := fx.clock.Now()
	unproven := func(at time.Time) visit.Visit {
		v := newVisit(at)
		v.Clock = visit.ClockUntrusted
		return v
	}
	g.journalled(unproven(begun.Add(time.Hour)), unproven(begun.Add(1000*time.Hour)), unproven(begun.Add(time.Hour)))
	fx.clock.Add(6 * time.Hour)
	g.deliver()
	g.journalled(unproven(begun.Add(2 * time.Hour)))
	g.deliver()
	status, c := readCounts(t, fx, "cafe", managerToken(fx, "cafe"), "2020-07-01")
	placed := map[int]uint64{}
	for _, h := range c.Hours {
		if h.Visits > 0 {
			placed[h.Hour] = h.Visits
		}
	}
	if want := map[int]uint64{13: 2, 14: 1, 18: 1}; status != 200 || !maps.Equal(placed, want) {
		t.Errorf("visits by hour %v, want %v: the one dated ahead at its arrival, the others at their times", placed, want)
	}
}

// A server whose clock was set back far takes nothing: it would put visits on days long gone. Put right, it takes them at
// their own time.
func TestAServerWhoseClockWasSetBackTakesNoVisit(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	today := noon.Add(10 * 24 * time.Hour)
	set := func(now time.Time) {
		fx.clock.Set(now)
		fx.restart() // for a certificate of now
	}
	set(today)
	g.journalled(newVisit(today))
	g.deliver()
	set(noon)
	g.journalled(newVisit(today.Add(time.Minute)))
	var problem *wire.Problem
	if _, err := g.send(g.segment(1)); !errors.As(err, &problem) || problem.Code != wire.CodeBusy {
		t.Errorf("set back by ten days it answers %v, want that the visit comes again", err)
	}
	if after := fx.retryAfter.Load(); after < int64(lasting/time.Second) {
		t.Errorf("it is asked for again after %d s, though a clock stays wrong until it is put right", after)
	}
	set(today.Add(time.Hour))
	if receipt := g.deliver(); len(receipt.Settled.Refused) != 0 {
		t.Errorf("put right it refuses %v", receipt.Settled.Refused)
	}
	if stored := fx.ledger().Facilities[0].Stored; stored != 2 {
		t.Errorf("%d visits are stored, want both", stored)
	}
	if _, err := os.Stat(filepath.Join(fx.folder.Dir, "keys", "days", day.Of(noon).String()+".key")); err == nil {
		t.Error("a visit lies on the day of the wrong clock")
	}
}
