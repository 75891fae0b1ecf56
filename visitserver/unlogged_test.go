package visitserver

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/order"
)

// frozenAudit is an audit log that takes no entry, while the registers stand as it tells of them.
type frozenAudit struct{ AuditLog }

var errAuditFull = errors.New("no space left for the audit log")

func (frozenAudit) Append(auditlog.Entry) (uint64, error) { return 0, errAuditFull }

// fullAudit takes no entry of a register either.
type fullAudit struct{ frozenAudit }

func (fullAudit) SyncRegister(string, map[string]string, time.Time) error { return errAuditFull }

func TestWhatTheAuditLogDoesNotTakeIsNotDone(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	a := newInvestigators(fx)
	g := fx.gate("cafe", "door")
	g.one(0)
	fx.clock.Add(time.Minute)
	g.newJournal()
	g.one(0) // an alert
	o := a.order(fx, "cafe", noon.Add(-time.Hour), fx.clock.Now().Add(time.Second))
	good := a.approved(t, o)
	foreign := *a
	_, foreign.root = generated(t)
	uncertified := foreign.approved(t, o)
	fx.stop()
	s, parts := opened(t, fx.folder, fx.clock)
	defer func() { testkit.Check(t, parts.close()) }()
	send := func(raw []byte) (status int, body []byte) {
		r := httptest.NewRequest(http.MethodPost, order.PathOrders, bytes.NewReader(raw))
		r.Header.Set("Content-Type", order.TypeOrder)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		return w.Code, w.Body.Bytes()
	}
	told := func() (kinds []string) {
		for _, e := range auditEntries(t, fx.folder) {
			if e.Kind != auditlog.KindRegister {
				kinds = append(kinds, e.Kind)
			}
		}
		return kinds
	}

	whole := s.audit
	s.audit = frozenAudit{whole}
	for what, raw := range map[string][]byte{"an order": good, "an order for a recipient whom nobody certified": uncertified} {
		status, body := send(raw)
		if _, err := order.OpenVisitAnswer(body, a.identity); status != http.StatusInternalServerError || err == nil {
			t.Errorf("%s is answered with status %d, opened: %v", what, status, err == nil)
		}
	}
	if done, err := s.Acknowledge(t.Context(), "cafe", "door"); !errors.Is(err, errAuditFull) || done != nil {
		t.Errorf("alerts are acknowledged: %v, %v", done, err)
	}
	if alerts := testkit.Must(s.Alerts(t.Context()))(t); len(alerts) != 1 {
		t.Errorf("alerts %v, want the one that is not acknowledged", alerts)
	}
	if got := told(); len(got) != 0 {
		t.Fatalf("the log tells of %v", got)
	}

	s.audit = whole
	if status, _ := send(uncertified); status != http.StatusForbidden {
		t.Errorf("the uncertified recipient, once there is space: status %d", status)
	}
	status, body := send(good)
	answer, err := order.OpenVisitAnswer(body, a.identity)
	if status != http.StatusOK || err != nil || len(answer.Scans) != 2 {
		t.Errorf("the order, once there is space: status %d, %d scans, %v", status, len(answer.Scans), err)
	}
	testkit.Must(s.Acknowledge(t.Context(), "cafe", "door"))(t)
	if got := told(); !slices.Equal(got, []string{auditlog.KindRefused, auditlog.KindInquiry, auditlog.KindAcknowledged}) {
		t.Errorf("the log tells of %v", got)
	}
}

// A server that was killed, or whose disk was full, between a change of a register and its entry logs it at its next start.
func TestChangesThatWereNotLoggedAreLoggedAtTheNextStart(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	newInvestigators(fx)
	fx.admin(nil, "manager add", "cafe", "owner")
	before := len(auditEntries(t, fx.folder))
	fx.stop()
	s, parts := opened(t, fx.folder, fx.clock)
	s.audit = fullAudit{frozenAudit{s.audit}}
	key := func() ed25519.PublicKey {
		pub, _ := generated(t)
		return pub
	}
	ctx := t.Context()
	_, managed := s.AddManager(ctx, "cafe", "deputy")
	for what, err := range map[string]error{
		"officer added":            s.AddOfficer(ctx, order.Officer{Name: "park", Public: key()}),
		"officer removed":          s.RemoveOfficer(ctx, "kim"),
		"authority's root changed": s.SetAuthorityRoot(ctx, key()),
		"trust list's root set":    s.SetTrustRoot(ctx, key()),
		"manager added":            managed,
		"manager revoked":          s.RevokeManager(ctx, "cafe", "owner"),
	} {
		if !errors.Is(err, errAuditFull) {
			t.Errorf("%s: %v, want an error of the log", what, err)
		}
	}
	testkit.Check(t, parts.close())
	if n := len(auditEntries(t, fx.folder)); n != before {
		t.Fatalf("%d entries were logged", n-before)
	}
	fx.start()
	var got []string
	for _, e := range auditEntries(t, fx.folder)[before:] {
		got = append(got, fmt.Sprintf("%s %s %v", e.Register, e.Name, e.Removed))
	}
	slices.Sort(got)
	want := []string{
		"authority root false", "authority root true", "managers cafe/deputy false", "managers cafe/owner true",
		"officers kim true", "officers park false", "trust root false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("logged are %v, want %v", got, want)
	}
}
