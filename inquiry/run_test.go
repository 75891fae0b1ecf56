package inquiry

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/visit"
)

func TestAnswersOfTheVisitServerThatAreNotBelieved(t *testing.T) {
	html := func([]byte) (string, []byte, error) {
		return "text/html", []byte("<html>please log in to the network</html>"), nil
	}
	tests := map[string]struct {
		visits func(t *testing.T, f *fixture) Endpoint
		says   string
	}{
		"about another facility": {func(t *testing.T, f *fixture) Endpoint {
			return f.visitsParty(t, func(a *order.VisitAnswer) { a.Scans[0].Facility = "gangnam-1" }, numbered(1))
		}, "outside the order"},
		"outside the window": {func(t *testing.T, f *fixture) Endpoint {
			return f.visitsParty(t, func(a *order.VisitAnswer) { a.Scans[0].At = f.order.To }, numbered(1))
		}, "outside the order"},
		"to another order": {func(t *testing.T, f *fixture) Endpoint {
			return f.visitsParty(t, func(a *order.VisitAnswer) { a.Order = order.NewID() }, numbered(1))
		}, "instead of"},
		"encrypted to somebody else": {func(t *testing.T, f *fixture) Endpoint {
			return party(t, func([]byte) (string, []byte, error) {
				sealed, err := order.SealVisitAnswer(newFixture(t).order.Recipient, order.VisitAnswer{Order: f.order.ID})
				return order.TypeVisitAnswer, sealed, err
			})
		}, "decrypting"},
		"a captive portal's page": {func(t *testing.T, f *fixture) Endpoint { return party(t, html) }, "no answer to an order"},
		"a redirection": {func(t *testing.T, f *fixture) Endpoint {
			s := httptest.NewTLSServer(http.RedirectHandler("https://elsewhere.example/", http.StatusTemporaryRedirect))
			t.Cleanup(s.Close)
			roots := x509.NewCertPool()
			roots.AddCert(s.Certificate())
			return Endpoint{URL: s.URL, Roots: roots}
		}, "no answer to an order"},
		"without TLS": {func(t *testing.T, f *fixture) Endpoint {
			return Endpoint{URL: "http://127.0.0.1:1", Roots: x509.NewCertPool()}
		}, "https://"},
		"without pinned authority": {func(t *testing.T, f *fixture) Endpoint {
			return Endpoint{URL: "https://127.0.0.1:1"}
		}, "no certificate authority"},
		"its refusal": {func(t *testing.T, f *fixture) Endpoint {
			return party(t, func([]byte) (string, []byte, error) {
				p, err := order.EncodeProblem(order.Problem{Code: "too-many", Detail: "narrow the window"})
				return order.TypeProblem, p, err
			})
		}, "narrow the window"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			_, err := f.Run(t.Context(), f.approved, config(tt.visits(t, f), Endpoint{}))
			if err == nil || errors.Is(err, ErrPartial) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("Run = %v, want one that says %q", err, tt.says)
			}
			files, err := os.ReadDir(f.orderDir(f.order.ID))
			if err != nil || len(files) != 1 {
				t.Errorf("%d files of the order, want its key alone, %v", len(files), err)
			}
		})
	}
}

func TestAnswersOfAnIssuerThatAreNotBelieved(t *testing.T) {
	tests := map[string]struct {
		change func(*order.IssuerAnswer)
		says   string
	}{
		"to another order":       {func(a *order.IssuerAnswer) { a.Order = order.NewID() }, "instead of"},
		"about a code not asked": {func(a *order.IssuerAnswer) { a.Holders[0].CTI = numbered(99) }, "not asked for"},
		"silent about a code":    {func(a *order.IssuerAnswer) { a.Holders = a.Holders[:1] }, "were asked for"},
		"unopened, but not asked": {func(a *order.IssuerAnswer) {
			a.Holders, a.Unopened = a.Holders[:1], []visit.CTI{numbered(98)}
		}, "not asked for"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			visits := f.visitsParty(t, nil, numbered(1), numbered(2))
			s, err := f.Run(t.Context(), f.approved, config(visits, f.issuerParty(t, tt.change)))
			naver := s.Issuers["naver"]
			if !errors.Is(err, ErrPartial) || s.Contacts != 0 || naver.Missing != 2 || !strings.Contains(naver.Error, tt.says) {
				t.Errorf("Run = %+v, %v", s, err)
			}
		})
	}
}

func TestMoreCodesThanOneQuestionHolds(t *testing.T) {
	f := newFixture(t)
	var codes []visit.CTI
	for i := range 2*order.MaxCodes + 1 {
		codes = append(codes, numbered(i+1))
	}
	questions := 0
	issuer := f.issuerParty(t, func(*order.IssuerAnswer) { questions++ })
	s, err := f.Run(t.Context(), f.approved, config(f.visitsParty(t, nil, codes...), issuer))
	if err != nil || questions != 3 || s.Opened != len(codes) || s.Contacts != 1 {
		t.Errorf("%d questions, %d opened, %d contacts, %v", questions, s.Opened, s.Contacts, err)
	}
}

func TestOneCodeScannedTwiceIsAskedForOnce(t *testing.T) {
	f := newFixture(t)
	visits := f.visitsParty(t, func(a *order.VisitAnswer) {
		again := a.Scans[0]
		again.At, again.Gate = again.At.Add(-time.Minute), "door-2"
		a.Scans = append(a.Scans, again)
	}, numbered(1))
	s, err := f.Run(t.Context(), f.approved, config(visits, f.issuerParty(t, nil)))
	if err != nil || s.Scans != 2 || s.Codes != 1 || s.Contacts != 1 {
		t.Fatalf("Run = %+v, %v", s, err)
	}
	list := testkit.Must(f.Contacts(f.order.ID))(t)
	if v := list.Contacts[0].Visits; len(v) != 2 || v[0].Gate != "door-2" || v[1].Gate != "door-1" {
		t.Errorf("visits = %+v, want both in order of time", v)
	}
}

func TestEmptyWindowGivesAnEmptyList(t *testing.T) {
	f := newFixture(t)
	s, err := f.Run(t.Context(), f.approved, config(f.visitsParty(t, nil), Endpoint{}))
	if err != nil || !s.Complete || s.Contacts != 0 || s.Scans != 0 {
		t.Errorf("Run = %+v, %v", s, err)
	}
}

func TestOrderOfAnotherFolderIsNotRun(t *testing.T) {
	made, f := newFixture(t), newFixture(t)
	if _, err := f.Run(t.Context(), made.approved, Config{}); !errors.Is(err, order.ErrRecipient) {
		t.Errorf("of another authority: %v", err)
	}
	testkit.Check(t, f.Destroy(f.order.ID))
	if _, err := f.Run(t.Context(), f.approved, Config{}); err == nil || !strings.Contains(err.Error(), "not made in this folder") {
		t.Errorf("destroyed: %v", err)
	}
}

func TestDestroyedListIsUnreadableFromACopy(t *testing.T) {
	f := newFixture(t)
	testkit.Must(f.Run(t.Context(), f.approved, config(f.visitsParty(t, nil, numbered(1)), f.issuerParty(t, nil))))(t)
	kept := testkit.Must(os.ReadFile(filepath.Join(f.orderDir(f.order.ID), contactsFile)))(t)
	testkit.Check(t, f.Destroy(f.order.ID))
	if _, err := decrypt(f.master, kept); err == nil {
		t.Error("the authority's own key reads a copy of a destroyed list")
	}
	if err := f.Destroy(f.order.ID); err == nil {
		t.Error("an order is destroyed twice")
	}
	key := testkit.Must(AuditKey(f.dir))(t)
	r := testkit.Must(auditlog.VerifyDir(filepath.Join(f.dir, auditDir), key))(t)
	if last := r.Entries[len(r.Entries)-1]; last.Kind != auditlog.KindDestruction || last.Order != f.order.ID.String() || len(last.Digest) != 64 {
		t.Errorf("last entry = %+v", last)
	}
}

// A crash leaves the folder with any of its files gone; what is left must not stand in the way of finishing.
func TestDestructionIsFinishedAfterACrash(t *testing.T) {
	for _, gone := range [][]string{
		{}, {contactsFile}, {contactsFile, identityFile}, {contactsFile, identityFile, "issuer-naver-1-0.age", "visits-1.age"},
	} {
		t.Run(fmt.Sprint(len(gone), " files gone"), func(t *testing.T) {
			f := newFixture(t)
			testkit.Must(f.Run(t.Context(), f.approved, config(f.visitsParty(t, nil, numbered(1)), f.issuerParty(t, nil))))(t)
			for _, name := range gone {
				testkit.Check(t, os.Remove(filepath.Join(f.orderDir(f.order.ID), name)))
			}
			testkit.Check(t, f.Destroy(f.order.ID))
			if _, err := os.Stat(f.orderDir(f.order.ID)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the order's folder: %v", err)
			}
		})
	}
}

func TestSpreadsheetTakesNoFieldForAFormula(t *testing.T) {
	for in, want := range map[string]string{"=1+1": "'=1+1", "@x": "'@x", "-x": "'-x", "+x": "'+x", "김철수": "김철수", "": ""} {
		if got := plainCell(in); got != want {
			t.Errorf("plainCell(%q) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{"+821011112222": "+821011112222", "+1|calc": "'+1|calc", "=1": "'=1"} {
		if got := phoneCell(in); got != want {
			t.Errorf("phoneCell(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestContactsDoNotPrint(t *testing.T) {
	c := Contact{Name: "김철수", Phone: "+821011112222"}
	if s := fmt.Sprintf("%v %+v %#v %s", c, c, []Contact{c}, c); strings.Contains(s, "김철수") || strings.Contains(s, "1111") {
		t.Errorf("a contact prints as %s", s)
	}
}
