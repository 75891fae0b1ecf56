package inquiry

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/order"
)

// TestWhatTheAuditLogDoesNotTakeIsNotDone closes the log, which takes no entry then, before each step of an order.
func TestWhatTheAuditLogDoesNotTakeIsNotDone(t *testing.T) {
	request := Request{
		Case: "2020-18", Officer: "kim", Purpose: "접촉자 조사", Facility: "hongdae-12", From: now.Add(-time.Hour), To: now, Valid: time.Hour,
	}
	asked := func(t *testing.T, f *fixture, counted *int) Config {
		return config(f.visitsParty(t, func(*order.VisitAnswer) { *counted++ }, numbered(1)), f.issuerParty(t, nil))
	}
	for step, do := range map[string]func(t *testing.T, f *fixture) (got bool, err error){
		"an order is made": func(t *testing.T, f *fixture) (bool, error) {
			testkit.Check(t, f.audit.Close())
			_, signed, err := f.Order(officerKey(1), request)
			return signed != nil, err
		},
		"an order is approved": func(t *testing.T, f *fixture) (bool, error) {
			_, signed, err := f.Order(officerKey(1), request)
			testkit.Check(t, err)
			testkit.Check(t, f.audit.Close())
			approved, err := f.Approve(officerKey(2), signed)
			return approved != nil, err
		},
		"the visit server is asked": func(t *testing.T, f *fixture) (bool, error) {
			var requests int
			c := asked(t, f, &requests)
			testkit.Check(t, f.audit.Close())
			_, err := f.Run(t.Context(), f.approved, c)
			return requests > 0, err
		},
		"the contact list is written": func(t *testing.T, f *fixture) (bool, error) {
			visits := f.visitsParty(t, nil, numbered(1))
			issuer := f.issuerParty(t, func(*order.IssuerAnswer) { testkit.Check(t, f.audit.Close()) })
			_, err := f.Run(t.Context(), f.approved, config(visits, issuer))
			_, missing := os.Stat(filepath.Join(f.orderDir(f.order.ID), contactsFile))
			return !errors.Is(missing, fs.ErrNotExist), err
		},
		"the contact list is read": func(t *testing.T, f *fixture) (bool, error) {
			var requests int
			testkit.Must(f.Run(t.Context(), f.approved, asked(t, f, &requests)))(t)
			testkit.Check(t, f.audit.Close())
			list, err := f.Contacts(f.order.ID)
			return list.Contacts != nil, err
		},
	} {
		t.Run(step, func(t *testing.T) {
			if got, err := do(t, newFixture(t)); err == nil || errors.Is(err, ErrPartial) || got {
				t.Errorf("done: %v, error %v; want an error of the log alone", got, err)
			}
		})
	}
}
