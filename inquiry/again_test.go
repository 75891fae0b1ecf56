package inquiry

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/visit"
)

// A gate that was offline delivers after the first run: the order, run again, finds what has come since.
func TestRunningAnOrderAgainAsksAnew(t *testing.T) {
	f := newFixture(t)
	codes := []visit.CTI{numbered(1)}
	visits, questions := 0, 0
	party := f.visitsParty(t, func(a *order.VisitAnswer) {
		a.Entry = uint64(visits)
		visits++
		for _, c := range codes[1:] {
			more := a.Scans[0]
			more.CTI = c
			a.Scans = append(a.Scans, more)
		}
	}, codes[0])
	issuer := f.issuerParty(t, func(a *order.IssuerAnswer) { a.Entry = uint64(questions); questions++ })
	for run, want := range []int{1, 3, 3} {
		if run == 1 {
			codes = append(codes, numbered(2), numbered(3))
		}
		s := testkit.Must(f.Run(t.Context(), f.approved, config(party, issuer)))(t)
		if s.Scans != want || s.Opened != want || visits != run+1 || questions != run+1 {
			t.Errorf("run %d: %d scans, %d opened; the server was asked %d times, the issuer %d", run, s.Scans, s.Opened, visits, questions)
		}
		if got, want := strings.Join(s.LogEntries[:2], " "), fmt.Sprintf("visits#%d naver#%[1]d", run); got != want {
			t.Errorf("run %d rests on %s, want %s", run, got, want)
		}
	}
}

// What an issuer has opened is not forgotten because it cannot be reached the next time.
func TestAnIssuerThatFailsTheNextTimeLosesNothing(t *testing.T) {
	f := newFixture(t)
	asked := []visit.CTI{numbered(1)}
	party := f.visitsParty(t, func(a *order.VisitAnswer) {
		for _, c := range asked[1:] {
			more := a.Scans[0]
			more.CTI = c
			a.Scans = append(a.Scans, more)
		}
	}, asked[0])
	testkit.Must(f.Run(t.Context(), f.approved, config(party, f.issuerParty(t, nil))))(t)
	down := Endpoint{URL: "https://127.0.0.1:1"}
	s, err := f.Run(t.Context(), f.approved, config(party, down))
	if err != nil || s.Contacts != 1 || s.Issuers["naver"].Missing != 0 || s.Issuers["naver"].Error == "" {
		t.Errorf("the same codes: %+v, %v", s, err)
	}
	asked = append(asked, numbered(2))
	s, err = f.Run(t.Context(), f.approved, config(party, down))
	if !errors.Is(err, ErrPartial) || s.Contacts != 1 || s.Opened != 1 || s.Issuers["naver"].Missing != 1 {
		t.Errorf("one code more: %+v, %v", s, err)
	}
}
