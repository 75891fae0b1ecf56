package inquiry

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/visit"
)

// spelled is how issuers spell the holders of the codes 1 to 6: the first four are one person.
var spelled = []struct{ issuer, name, phone string }{
	{"naver", "김철수", "+821011112222"},
	{"naver", norm.NFD.String("김철수"), "+82 010-1111-2222"},
	{"pass", "김 철수", "0082 10 1111 2222"},
	{"pass", " 김철수\u200e", "010.1111.2222"},
	{"pass", "김영희", "+821011112222"}, // shares the phone
	{"naver", "김철수", "1588-1234 안내"}, // no number that we know
}

func TestOnePersonIsOneContact(t *testing.T) {
	f := newFixture(t)
	visits := f.visitsParty(t, func(a *order.VisitAnswer) {
		for n := range spelled {
			s := a.Scans[0]
			s.CTI, s.Issuer = numbered(n+1), spelled[n].issuer
			a.Scans = append(a.Scans, s)
		}
		a.Scans = a.Scans[1:]
	}, numbered(99))
	issuer := f.issuerParty(t, func(a *order.IssuerAnswer) {
		for i, h := range a.Holders {
			for n := range spelled {
				if h.CTI == visit.CTI(numbered(n+1)) {
					a.Holders[i].Name, a.Holders[i].Phone = spelled[n].name, spelled[n].phone
				}
			}
		}
	})
	s := testkit.Must(f.Run(t.Context(), f.approved, config(visits, issuer)))(t)
	list := testkit.Must(f.Contacts(f.order.ID))(t)
	if s.Contacts != 3 || len(list.Contacts) != 3 {
		t.Fatalf("%d contacts, want 3", len(list.Contacts))
	}
	for n, want := range []Contact{
		{Name: "김철수", Phone: "+821011112222", Issuers: []string{"naver", "pass"}, Visits: make([]Visit, 4)},
		{Name: "김영희", Phone: "+821011112222", Issuers: []string{"pass"}, Visits: make([]Visit, 1)},
		{Name: "김철수", Phone: "1588-1234 안내", Issuers: []string{"naver"}, Visits: make([]Visit, 1)},
	} {
		got := list.Contacts[n]
		if got.Name != want.Name || got.Phone != want.Phone || len(got.Visits) != len(want.Visits) || strings.Join(got.Issuers, " ") != strings.Join(want.Issuers, " ") {
			t.Errorf("contact %d is %q %q of %v with %d visits, want %q %q of %v with %d",
				n, got.Name, got.Phone, got.Issuers, len(got.Visits), want.Name, want.Phone, want.Issuers, len(want.Visits))
		}
	}
	var csv bytes.Buffer
	testkit.Check(t, list.WriteCSV(&csv))
	if line := strings.Split(csv.String(), "\n")[1]; !strings.HasPrefix(line, "김철수,+821011112222,naver pass,") {
		t.Errorf("the first line of the table does not name both issuers: %s", line)
	}
}
