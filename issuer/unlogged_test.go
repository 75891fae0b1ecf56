package issuer

import (
	"errors"
	"testing"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/visit"
)

// A code is opened, and an order for a stranger's key answered, once the audit log has it and not before.
func TestNothingIsAnsweredThatTheAuditLogDoesNotTake(t *testing.T) {
	f := newFixture(t)
	c := visit.CTI(f.code(t, f.register(t, testName)).CTI())
	o := f.order()
	good := question(t, f.approved(t, o), c)
	root := f.root
	f.root = f.kim
	uncertified := question(t, f.approved(t, o), c)
	f.root = root
	testkit.Check(t, f.Audit().Close()) // what takes no entry any more
	for what, q := range map[string][]byte{"a good order": good, "an order for an uncertified recipient": uncertified} {
		if answer, err := f.Answer(q); answer != nil || err == nil || errors.Is(err, order.ErrRecipient) {
			t.Errorf("%s: %d bytes, %v; want an error of the log", what, len(answer), err)
		}
	}
	f.reopen(t, durable.Disk{})
	if told := f.logged(t, auditlog.KindOpening, auditlog.KindRefused); len(told) != 0 {
		t.Errorf("logged is %+v", told)
	}
	if _, err := f.Answer(uncertified); !errors.Is(err, order.ErrRecipient) {
		t.Errorf("the uncertified recipient, with a log: %v", err)
	}
	if a := f.answered(t, good); len(a.Holders) != 1 {
		t.Errorf("the good order, with a log, opens %d codes", len(a.Holders))
	}
	if told := f.logged(t, auditlog.KindOpening, auditlog.KindRefused); len(told) != 2 {
		t.Errorf("logged is %+v", told)
	}
}
