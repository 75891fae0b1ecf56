package inquiry

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/visit"
)

// Whoever holds a gate's key can hand in a visitor's code once more, under the name of an issuer that never made it.
func TestARecordUnderAnotherIssuersNameHidesNobody(t *testing.T) {
	for rule, offset := range map[string]time.Duration{"before the true one": -time.Second, "after it": time.Second} {
		t.Run(rule, func(t *testing.T) {
			f := newFixture(t)
			visits := f.visitsParty(t, func(a *order.VisitAnswer) {
				forged := a.Scans[0]
				forged.Issuer, forged.At = "pass", forged.At.Add(offset)
				a.Scans = append(a.Scans, forged)
			}, numbered(1))
			naver := f.issuerParty(t, nil)
			pass := f.issuerParty(t, func(a *order.IssuerAnswer) {
				a.Holders, a.Unopened = nil, []visit.CTI{numbered(1)}
			})
			c := config(visits, Endpoint{})
			c.Issuers = func(name string) (Endpoint, error) {
				return map[string]Endpoint{"naver": naver, "pass": pass}[name], nil
			}
			s := testkit.Must(f.Run(t.Context(), f.approved, c))(t)
			if s.Contacts != 1 || s.Codes != 2 || s.Opened != 1 || s.Unopened != 1 {
				t.Errorf("%d contacts of %d codes, %d opened, %d not; want 1 of 2, 1, 1", s.Contacts, s.Codes, s.Opened, s.Unopened)
			}
			list := testkit.Must(f.Contacts(f.order.ID))(t)
			if len(list.Contacts) != 1 || len(list.Contacts[0].Visits) != 1 || len(list.Unknown) != 1 || list.Unknown[0].Issuer != "pass" {
				t.Errorf("%d contacts, unknown %+v", len(list.Contacts), list.Unknown)
			}
		})
	}
}

// An issuer that was restored from a backup, or of which a day is damaged, cannot tell whose a code is: somebody who was there
// is not in the list, and it says so.
func TestACodeThatItsIssuerCannotOpenMarksTheList(t *testing.T) {
	f := newFixture(t)
	visits := f.visitsParty(t, nil, numbered(1), numbered(2))
	naver := f.issuerParty(t, func(a *order.IssuerAnswer) {
		a.Holders, a.Unopened = a.Holders[:1], []visit.CTI{a.Holders[1].CTI}
	})
	s, err := f.Run(t.Context(), f.approved, config(visits, naver))
	if !errors.Is(err, ErrPartial) || !strings.Contains(err.Error(), "codes that [naver] cannot open") || s.Complete {
		t.Errorf("complete %v, %v", s.Complete, err)
	}
	list := testkit.Must(f.Contacts(f.order.ID))(t)
	if list.Complete || list.Untold["naver"] != 1 || len(list.Contacts) != 1 || len(list.Warnings()) != 1 {
		t.Errorf("complete %v, %d contacts, not told %v, %q", list.Complete, len(list.Contacts), list.Untold, list.Warnings())
	}
}

// A scan's time is what a gate says, the time of issue what the issuer knows.
func TestMarksOfAScan(t *testing.T) {
	issued := now
	scan := func(after time.Duration, change func(*order.Scan)) order.Scan {
		s := order.Scan{At: issued.Add(after), Clock: visit.ClockHoldover, Skew: 2 * time.Second}
		if change != nil {
			change(&s)
		}
		return s
	}
	for rule, tt := range map[string]struct {
		scan   order.Scan
		issued time.Time
		want   []Mark
	}{
		"at once":                       {scan(0, nil), issued, nil},
		"as early as it may be":         {scan(-7*time.Second, nil), issued, nil},
		"earlier":                       {scan(-7*time.Second-time.Millisecond, nil), issued, []Mark{MarkTimeMisfit}},
		"as late as it may be":          {scan(22*time.Second, nil), issued, nil},
		"later":                         {scan(22*time.Second+time.Millisecond, nil), issued, []Mark{MarkTimeMisfit}},
		"by hours":                      {scan(5*time.Hour, nil), issued, []Mark{MarkTimeMisfit}},
		"a wide allowance":              {scan(50*time.Second, func(s *order.Scan) { s.Skew = 30 * time.Second }), issued, nil},
		"beyond a wide allowance":       {scan(51*time.Second, func(s *order.Scan) { s.Skew = 30 * time.Second }), issued, []Mark{MarkTimeMisfit}},
		"by a clock that nobody trusts": {scan(5*time.Hour, func(s *order.Scan) { s.Clock = visit.ClockUntrusted }), issued, []Mark{MarkTimeUnproven}},
		"of a code that is not known":   {scan(5*time.Hour, nil), time.Time{}, nil},
		"with every flag": {scan(0, func(s *order.Scan) { s.Flags = order.Late | order.NewJournal | order.TwoPlaces }), issued,
			[]Mark{MarkLate, MarkNewJournal, MarkTwoPlaces}},
	} {
		got := marks(tt.scan, tt.issued)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", rule, got, tt.want)
		}
		for _, m := range got {
			if !strings.Contains(m.Words(), " / ") {
				t.Errorf("%s: mark %s has words %q, want them in two languages", rule, m, m.Words())
			}
		}
	}
}

// One code at two times is one code: the true time is not hidden by the other, and the list tells which does not fit.
func TestACodeRecordedAtTwoTimesIsKeptAtBothAndMarked(t *testing.T) {
	f := newFixture(t)
	visits := f.visitsParty(t, func(a *order.VisitAnswer) {
		forged := a.Scans[0]
		forged.At = forged.At.Add(-50 * time.Minute)
		a.Scans = append(a.Scans, forged)
	}, numbered(1))
	testkit.Must(f.Run(t.Context(), f.approved, config(visits, f.issuerParty(t, nil))))(t)
	list := testkit.Must(f.Contacts(f.order.ID))(t)
	v := list.Contacts[0].Visits
	if len(v) != 2 || !slices.Equal(v[0].Marks, []Mark{MarkTimeMisfit}) || len(v[1].Marks) != 0 {
		t.Errorf("visits %+v, want the earlier marked and the true one not", v)
	}
	var csv strings.Builder
	testkit.Check(t, list.WriteCSV(&csv))
	if !strings.Contains(csv.String(), MarkTimeMisfit.Words()) {
		t.Errorf("the list says nothing of it:\n%s", csv.String())
	}
}
