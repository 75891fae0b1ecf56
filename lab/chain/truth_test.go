package chain

import (
	"testing"

	"github.com/kipass/kipass/protocol/visit"
)

func TestTruthAgainstAContactList(t *testing.T) {
	row := func(name, phone string, visits int) contact {
		return contact{Name: name, Phone: phone, Visits: make([]struct{}, visits)}
	}
	for rule, c := range map[string]struct {
		list []contact
		want verdict
	}{
		"all there":                          {[]contact{row("김", "1", 1), row("이", "2", 1)}, verdict{opened: 2, traced: 2, truth: 2}},
		"a green visitor missing is lost":    {[]contact{row("김", "1", 1)}, verdict{lost: 1, opened: 1, traced: 1, truth: 2}},
		"a code twice is duplicated":         {[]contact{row("김", "1", 2), row("이", "2", 1)}, verdict{duplicated: 1, opened: 2, traced: 3, truth: 2}},
		"an unsure visitor may be there":     {[]contact{row("김", "1", 1), row("이", "2", 1), row("박", "3", 1)}, verdict{opened: 3, traced: 3, truth: 3}},
		"nobody else may":                    {[]contact{row("김", "1", 1), row("이", "2", 1), row("최", "9", 1)}, verdict{strangers: 1, opened: 2, traced: 3, truth: 2}},
		"nor a visitor under another's name": {[]contact{row("이", "1", 1), row("이", "2", 1)}, verdict{strangers: 1, opened: 1, traced: 2, truth: 2}},
	} {
		tr := newTruth()
		tr.saw(actEntry, []visit.Outcome{visit.Admitted}, []visit.Outcome{visit.Admitted}, "김", "1")
		tr.missed("이", "2") // killed before the outcome was seen, then shown again
		tr.saw(actEntry, []visit.Outcome{visit.AdmittedAgain}, []visit.Outcome{visit.Admitted, visit.AdmittedAgain}, "이", "2")
		tr.missed("박", "3")
		if got := tr.against(c.list); got != c.want {
			t.Errorf("%s: %+v, want %+v", rule, got, c.want)
		}
	}
}

func TestTruthCountsFalseGreens(t *testing.T) {
	tr := newTruth()
	tr.saw(actForged, []visit.Outcome{visit.Admitted}, []visit.Outcome{visit.NotGenuine}, "", "")
	tr.saw(actEntry, []visit.Outcome{visit.OutOfService}, []visit.Outcome{visit.Admitted}, "김", "1")
	if tr.falseGreen != 1 || len(tr.wrong) != 2 || tr.scans() != 2 {
		t.Errorf("%d false greens and %d surprises of %d scans, want 1, 2, 2", tr.falseGreen, len(tr.wrong), tr.scans())
	}
	if (Summary{FalseGreen: tr.falseGreen, Ledger: "ok"}).Err() == nil {
		t.Error("a false green is no failure")
	}
}

func TestSummaryErr(t *testing.T) {
	good := Summary{Ledger: "ok", Scans: 4, Green: 3, Opened: 3, Traced: 3, Truth: 3}
	if err := good.Err(); err != nil {
		t.Error(err)
	}
	for what, change := range map[string]func(*Summary){
		"lost":       func(s *Summary) { s.Lost = 1 },
		"duplicated": func(s *Summary) { s.Duplicated = 1 },
		"no green":   func(s *Summary) { s.Green = 0 },
		"late green": func(s *Summary) { s.LateGreen = 1 },
		"unopened":   func(s *Summary) { s.Opened = 2 },
		"untraced":   func(s *Summary) { s.Traced = 2 },
		"ledger":     func(s *Summary) { s.Ledger = "the chains differ" },
		"surprise":   func(s *Summary) { s.Surprises = []surprise{{}} },
	} {
		s := good
		change(&s)
		if s.Err() == nil {
			t.Errorf("%s is no failure", what)
		}
	}
}

func TestPlan(t *testing.T) {
	acts := plan(1000, 7)
	seen := map[act]int{}
	for _, a := range acts {
		seen[a]++
	}
	for a := range act(len(actNames)) {
		if seen[a] == 0 {
			t.Errorf("a thousand scans have no %v", a)
		}
	}
	if acts[0] != actEntry {
		t.Errorf("the first act is %v", acts[0])
	}
	numbers := map[string]bool{}
	for i := range 5000 {
		_, number := person(i)
		if numbers[number] || len(number) != len("+821000000000") {
			t.Fatalf("visitor %d has the number %s", i, number)
		}
		numbers[number] = true
	}
}
